//! The end: every process, every mount, the machine. Each step has its time, and nothing can make the last one wait.

use super::Pid1;
use crate::voice::span;
use skerry_sys::machine::{self, Down, uptime};
use skerry_sys::mount::{self, MountFlags, MountInfo};
use skerry_sys::process::{self, Program};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Between SIGTERM to all and SIGKILL to all: containers end in it.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// After SIGKILL.
const LAST_BREATH: Duration = Duration::from_secs(3);
/// For unmounting and flushing.
const UNMOUNT: Duration = Duration::from_secs(20);

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

impl Pid1 {
    /// Ends all processes, has everything unmounted, and leaves the machine. Returns only if the kernel refuses.
    pub(super) fn leave(&mut self, how: Down) {
        self.voice.say("Ending all processes");
        let _ = process::kill_all(SIGTERM); // none left is fine
        if !self.wait_for_none(LAST_WORDS) {
            self.voice.say("Killing what is left");
            let _ = process::kill_all(SIGKILL);
            self.wait_for_none(LAST_BREATH);
        }
        self.voice.say("Unmounting");
        self.unmount(how);
        self.pet();
        self.voice.say(if how == Down::Reboot {
            "Restarting now"
        } else {
            "Switching off now"
        });
        if how == Down::PowerOff {
            if let Some(Err(why)) = self.watchdog.take().map(machine::Watchdog::release) {
                self.voice.alarm(&why.to_string());
            }
        }
        let Err(why) = machine::down(how) else { return };
        self.voice.alarm(&format!("{why}; trying again in {}", span(LAST_WORDS)));
        self.pause(LAST_WORDS);
    }

    fn pet(&mut self) {
        if let Some(w) = &mut self.watchdog {
            let _ = w.pet(); // if it bites now, it does what we are about to do
        }
    }

    /// Waits until no child is left; whether that came true. Asked to go down once more, it waits no longer.
    fn wait_for_none(&mut self, limit: Duration) -> bool {
        let until = uptime() + limit;
        loop {
            while process::reap().is_some() {}
            if !process::has_children() {
                return true;
            }
            if uptime() >= until || self.is_forced() {
                return false;
            }
            self.pet();
            self.pause(Duration::from_millis(50));
        }
    }

    /// Waits for a signal, or so long.
    fn pause(&self, time: Duration) {
        let _ = self.poller.wait(Some(time)); // woken early is no harm
    }

    fn is_forced(&self) -> bool {
        std::iter::from_fn(|| self.signals.next()).any(|s| [super::SIGINT, SIGTERM, super::SIGPWR].contains(&s.signal))
    }

    /// A child does it: a disk or a server that does not answer must not hold PID 1.
    fn unmount(&mut self, how: Down) {
        let argv = ["init".to_owned(), "final".to_owned()];
        // The consoles are where it says what it could not unmount: the keeper of logs is gone.
        let program = Program {
            argv: &argv,
            file: Some("/proc/self/exe"),
            ..Program::default()
        };
        let Ok(child) = process::spawn(&program) else {
            return self.voice.alarm(&format!("no process can be started to unmount; {how:?} without"));
        };
        let until = uptime() + UNMOUNT;
        loop {
            while let Some((pid, exit)) = process::reap() {
                if pid == child {
                    if !exit.is_success() {
                        self.voice.alarm(&format!("unmounting: {exit}"));
                    }
                    return;
                }
            }
            if uptime() >= until {
                let _ = process::kill(child, SIGKILL); // it is in the kernel, and may not notice
                return self
                    .voice
                    .alarm(&format!("unmounting takes longer than {}; going on without", span(UNMOUNT)));
            }
            self.pet();
            self.pause(Duration::from_millis(20));
        }
    }
}

/// `init final`: swap off, everything unmounted in reverse, what cannot be is made read-only, all flushed. PID 1 waits, but not for
/// long.
pub fn final_child() -> bool {
    let voice = crate::voice::Voice::open();
    process::set_name("final");
    for line in fs::read_to_string("/proc/swaps").unwrap_or_default().lines().skip(1) {
        let Some(path) = line.split_ascii_whitespace().next() else {
            continue;
        };
        if let Err(why) = machine::swapoff(Path::new(path)) {
            voice.alarm(&why.to_string());
        }
    }
    // More than one pass: what lies on a mount that was shared comes to light when that is gone.
    for _ in 0..3 {
        for m in to_unmount(&mount::mounted().unwrap_or_default()) {
            let _ = if is_remote(&m.fstype) {
                mount::unmount_lazy(&m.target)
            } else {
                mount::unmount(&m.target)
            }; // seen below
        }
    }
    machine::sync();
    let mut clean = true;
    for m in to_unmount(&mount::mounted().unwrap_or_default()) {
        if m.is_read_only() || !m.source.starts_with('/') {
            continue;
        }
        if let Err(why) = mount::remount(&m.target, MountFlags::RDONLY, "") {
            voice.alarm(&why.to_string());
            clean = false;
        }
    }
    machine::sync();
    clean
}

/// What is to be unmounted, in order. The views of the kernel stay, and so does what is only memory.
fn to_unmount(mounts: &[MountInfo]) -> Vec<MountInfo> {
    const STAY: [&str; 14] = [
        "proc",
        "sysfs",
        "devtmpfs",
        "devpts",
        "mqueue",
        "cgroup",
        "cgroup2",
        "bpf",
        "securityfs",
        "debugfs",
        "tracefs",
        "efivarfs",
        "configfs",
        "nsfs",
    ];
    let stays = |m: &MountInfo| {
        let target = m.target.to_string_lossy();
        target == "/" || STAY.contains(&m.fstype.as_str()) || ["/run", "/dev/shm", "/tmp"].contains(&&*target)
    };
    mounts.iter().rev().filter(|m| !stays(m)).cloned().collect()
}

fn is_remote(fstype: &str) -> bool {
    ["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs"].contains(&fstype) || fstype.starts_with("fuse")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_last_and_the_kernel_stays() {
        let text = "22 1 254:0 / / ro shared:1 - erofs /dev/dm-0 ro\n\
                    23 22 0:20 / /proc rw shared:2 - proc proc rw\n\
                    24 22 0:21 / /run rw shared:3 - tmpfs tmpfs rw\n\
                    25 22 254:16 / /skerry rw shared:4 - ext4 /dev/vdb rw\n\
                    26 22 254:16 /var /var rw shared:4 - ext4 /dev/vdb rw\n\
                    27 22 0:30 / /etc rw shared:5 - overlay overlay rw\n\
                    28 27 254:16 /etc/kubernetes /etc/kubernetes rw shared:4 - ext4 /dev/vdb rw\n\
                    29 26 0:31 / /var/lib/kubelet/pods/x/vol rw shared:6 - tmpfs tmpfs rw\n";
        let order: Vec<_> = to_unmount(&mount::parse_mountinfo(text.as_bytes()))
            .iter()
            .map(|m| m.target.to_string_lossy().into_owned())
            .collect();
        assert_eq!(order, ["/var/lib/kubelet/pods/x/vol", "/etc/kubernetes", "/etc", "/var", "/skerry"]);
    }
}
