//! Leaves the initramfs for good: its memory is given back, and `/` is the real root, so that containers can pivot away from it.

use skerry_sys::machine::{WATCHDOG_FD, Watchdog};
use skerry_sys::{Doing, Result, mount};
use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// What the real root takes over as it is.
const MOVED: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];
const INIT: &str = "/sbin/init";

/// Makes `root` the root and runs its init in this process. The watchdog goes along, armed.
pub fn to(root: &Path, watchdog: &mut Option<Watchdog>) -> Result<Infallible> {
    // While an error can still be reported: the real root must have an init.
    fs::symlink_metadata(root.join("sbin/init")).doing("looking for", "/sbin/init in the root")?;
    refuse_unless_in_memory()?;
    for view in MOVED {
        mount::move_to(view, root.join(view.trim_start_matches('/')))?;
    }
    let device = fs::metadata("/").doing("looking at", "/")?.dev();
    forget(Path::new("/"), device);
    std::env::set_current_dir(root).doing("entering", root.display())?;
    mount::move_to(".", "/")?;
    std::os::unix::fs::chroot(".").doing("changing the root to", root.display())?;
    std::env::set_current_dir("/").doing("entering", "/")?;
    let mut init = Command::new(INIT);
    init.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TERM", "linux");
    if let Some(watchdog) = watchdog.take() {
        init.env(WATCHDOG_FD, watchdog.hand_over()?.to_string());
    }
    Err(init.exec()).doing("starting", INIT)
}

/// Whoever starts stage 1 by mistake must not lose a disk's content to it.
fn refuse_unless_in_memory() -> Result<()> {
    let types: Vec<_> = mount::mounted()?
        .into_iter()
        .filter(|m| m.target == Path::new("/"))
        .map(|m| m.fstype)
        .collect();
    if types.iter().all(|t| ["rootfs", "ramfs", "tmpfs"].contains(&t.as_str())) {
        return Ok(());
    }
    Err(io::Error::other(format!("it is not an initramfs but {}", types.join(", ")))).doing("leaving", "/")
}

/// Deletes what is on the initramfs itself; other file systems are not entered. What cannot be deleted costs only its memory.
fn forget(dir: &Path, device: u64) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(found) if found.dev() != device => {}
            Ok(found) if found.is_dir() => {
                forget(&path, device);
                let _ = fs::remove_dir(&path);
            }
            Ok(_) => _ = fs::remove_file(&path),
            Err(_) => {}
        }
    }
}
