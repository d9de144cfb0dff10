//! The start of stage 2: what must be there before the first unit. Everything that fails is named, and the rest goes on.

use skerry_sys::mount::{self, MountFlags, mounted};
use skerry_sys::{cgroup, machine, process};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Until `setup` has given it one. A DHCP client never sends this name.
const PLACEHOLDER: &str = "skerry";
/// Descriptors: what services get unless they ask, and the most they can ask for.
const FILES: (u64, u64) = (1024, 1 << 20);

const CLOSED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

struct Mount {
    fstype: &'static str,
    target: &'static str,
    flags: MountFlags,
    data: &'static str,
    /// Its absence is worth a line on the console.
    needed: bool,
}

/// Mounts, control groups, limits. Returns what went wrong.
pub fn prepare() -> Vec<String> {
    let mut problems = vec![];
    mount_all(&mut problems);
    let mut attempt = |done: skerry_sys::Result<()>| problems.extend(done.err().map(|e| e.to_string()));
    attempt(mount::make_rshared("/"));
    attempt(control_groups());
    attempt(process::limit_files(FILES.0, FILES.1));
    attempt(process::unlimit_processes());
    // Not allowed in a container; then there is no Ctrl-Alt-Del either.
    let _ = machine::ctrl_alt_del_to_pid1();
    if ["", "(none)", "localhost"].contains(&machine::hostname().as_str()) {
        attempt(machine::set_hostname(PLACEHOLDER));
    }
    let _ = fs::create_dir_all("/run/lock"); // a tmpfs of our own
    for (link, to) in LINKS {
        let _ = symlink(to, link); // one that is there already is as good
    }
    problems
}

/// What programs expect in `/dev` and no driver makes: proc(5), bash(1) "Process Substitution".
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

fn mount_all(problems: &mut Vec<String>) {
    // What is mounted is told by /proc, so that comes first.
    if !Path::new("/proc/self").exists() {
        problems.extend(mount::mount("proc", "/proc", "proc", CLOSED, "").err().map(|e| e.to_string()));
    }
    let there: BTreeSet<PathBuf> = mounted().unwrap_or_default().into_iter().map(|m| m.target).collect();
    for m in table() {
        if there.contains(&PathBuf::from(m.target)) {
            continue;
        }
        let _ = fs::create_dir_all(m.target); // on a read-only root it is there, or the mount says so
        match mount::mount(m.fstype, m.target, m.fstype, m.flags, m.data) {
            Err(why) if m.needed => problems.push(why.to_string()),
            _ => {}
        }
    }
}

fn table() -> Vec<Mount> {
    let (no_devices, no_exec) = (MountFlags::NOSUID | MountFlags::NODEV, MountFlags::NOSUID | MountFlags::NOEXEC);
    let row = |fstype, target, flags, data, needed| Mount {
        fstype,
        target,
        flags,
        data,
        needed,
    };
    vec![
        row("proc", "/proc", CLOSED, "", true),
        row("sysfs", "/sys", CLOSED, "", true),
        row("devtmpfs", "/dev", no_exec, "mode=0755", true),
        row("devpts", "/dev/pts", no_exec, "mode=0620,gid=5,ptmxmode=000", true),
        row("tmpfs", "/dev/shm", no_devices, "mode=1777", true),
        row("mqueue", "/dev/mqueue", CLOSED, "", true),
        row("tmpfs", "/run", no_devices, "mode=0755", true),
        row("tmpfs", "/tmp", no_devices, "mode=1777", true),
        row(
            "cgroup2",
            cgroup::ROOT,
            CLOSED,
            "nsdelegate,memory_recursiveprot,favordynmods",
            true,
        ),
        row("securityfs", "/sys/kernel/security", CLOSED, "", false),
        row("debugfs", "/sys/kernel/debug", CLOSED, "mode=0700", false),
        row("tracefs", "/sys/kernel/tracing", CLOSED, "mode=0700", false),
    ]
}

/// PID 1 into `/init.scope` (a group with children may hold no process of its own), and every controller to those below.
fn control_groups() -> skerry_sys::Result<()> {
    cgroup::Cgroup::create("/init.scope")?.join(process::own_pid())?;
    cgroup::enable_controllers("/")?;
    cgroup::Cgroup::create(super::groups::ABOVE)?;
    cgroup::enable_controllers(super::groups::ABOVE)?;
    Ok(())
}
