//! Performs the overlay's plan: each step's failure is named, and the rest goes on.

use skerry_overlay::STATE;
use skerry_overlay::plan::{Facts, Step, looked_for, plan};
use skerry_sys::mount::{self, MountFlags, MountInfo};
use skerry_sys::{Result, file, tree};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Looks, plans, does. Returns what went wrong.
pub fn stack(mounted: &[MountInfo]) -> Vec<String> {
    plan(&facts(mounted)).iter().filter_map(|step| perform(step).err()).collect()
}

fn facts(mounted: &[MountInfo]) -> Facts {
    let is_mounted = |target: &&str| mounted.iter().any(|m| m.target == Path::new(target));
    Facts {
        image: looked_for()
            .filter(|target| Path::new(target).is_dir())
            .map(str::to_owned)
            .collect(),
        mounted: looked_for().filter(is_mounted).map(str::to_owned).collect::<BTreeSet<_>>(),
        has_version: Path::new(STATE).join("version").exists(),
    }
}

fn perform(step: &Step) -> std::result::Result<(), String> {
    let done = match step {
        Step::Directory { path, mode } => file::make_dir(path, *mode).and_then(|()| close(Path::new(path), *mode)),
        // The next boot would write the same again.
        Step::File { path, content } => file::replace_soon(path, content.as_bytes(), 0o644, None),
        Step::Fill { from, to } => tree::fill(Path::new(from), Path::new(to)).map(drop),
        Step::Tmpfs { target, options } => mount::mount("tmpfs", target, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options),
        Step::Over { target, on } => over(target, on),
        Step::Bind { source, target } => mount::bind(source, target),
        Step::LeaveOut { .. } => return Err(step.to_string()),
    };
    done.map_err(|why| format!("{step}: {why}"))
}

/// A directory for secrets that is open to others is closed.
fn close(path: &Path, mode: u32) -> Result<()> {
    use skerry_sys::Doing;
    let found = std::fs::symlink_metadata(path).doing("looking at", path.display())?;
    let is_open = found.permissions().mode() & 0o077 > 0;
    if mode != 0o700 || !found.is_dir() || !is_open {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).doing("closing", path.display())
}

/// overlayfs where the kernel has it; else a copy in memory, which looks the same.
fn over(target: &str, on: &str) -> Result<()> {
    let (upper, work) = (format!("{on}/upper"), format!("{on}/work"));
    file::make_dir(on, 0o700)?;
    file::make_dir(&upper, 0o755)?;
    file::make_dir(&work, 0o700)?;
    let options = format!("lowerdir={target},upperdir={upper},workdir={work}");
    // The kernel would start modprobe for it, which takes as long as a mount.
    crate::esp::load_drivers(&["overlay"]);
    let Err(why) = mount::mount("overlay", target, "overlay", MountFlags::NOSUID | MountFlags::NODEV, &options) else {
        return Ok(());
    };
    eprintln!("{why}; {target} is copied into memory instead");
    tree::fill(Path::new(target), Path::new(&upper))?;
    mount::bind(&upper, target)
}
