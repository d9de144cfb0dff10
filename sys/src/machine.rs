//! The machine as a whole: host name, clock, reboot, watchdog.
#![allow(unsafe_code, reason = "swapoff, and taking over an inherited descriptor, have no safe wrapper")]

use crate::{Doing, Result};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Time since the kernel started, sleep included.
pub fn uptime() -> Duration {
    duration(clock_gettime(ClockId::Boottime))
}

/// Time that never jumps: what deadlines are counted on.
pub fn monotonic() -> Duration {
    duration(clock_gettime(ClockId::Monotonic))
}

fn duration(t: Timespec) -> Duration {
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// The wall clock.
pub fn clock_now() -> SystemTime {
    SystemTime::now()
}

/// Sets the wall clock. Times before 1970 are refused.
pub fn clock_set(to: SystemTime) -> Result<()> {
    let since = to
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the time lies before 1970"))
        .doing("setting", "the clock")?;
    let seconds = i64::try_from(since.as_secs())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
        .doing("setting", "the clock")?;
    clock_settime(
        ClockId::Realtime,
        Timespec {
            tv_sec: seconds,
            tv_nsec: since.subsec_nanos().into(),
        },
    )
    .doing("setting", "the clock")
}

/// Sets the host name.
pub fn set_hostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).doing("setting the host name", name)
}

/// The host name that the kernel holds.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Writes what is in the page cache to the disks; returns when it is there.
pub fn sync() {
    rustix::fs::sync();
}

/// How the machine goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// Starts again.
    Reboot,
    /// Is switched off.
    PowerOff,
}

/// Leaves at once: nothing is stopped, unmounted or written before.
pub fn down(how: Down) -> Result<()> {
    let (command, word) = match how {
        Down::Reboot => (rustix::system::RebootCommand::Restart, "restarting"),
        Down::PowerOff => (rustix::system::RebootCommand::PowerOff, "switching off"),
    };
    rustix::system::reboot(command).doing(word, "the machine")
}

/// Restarts at once.
pub fn reboot() -> Result<()> {
    down(Down::Reboot)
}

/// Switches off at once.
pub fn poweroff() -> Result<()> {
    down(Down::PowerOff)
}

/// Makes Ctrl-Alt-Del a SIGINT to PID 1, in place of an immediate restart.
pub fn ctrl_alt_del_to_pid1() -> Result<()> {
    rustix::system::reboot(rustix::system::RebootCommand::CadOff).doing("claiming", "Ctrl-Alt-Del")
}

/// Stops swapping to a file or device.
pub fn swapoff(path: &Path) -> Result<()> {
    let name = CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(io::Error::from)
        .doing("stopping swap on", path.display())?;
    // SAFETY: `name` is a terminated string that outlives the call; the kernel only reads it.
    let answer = unsafe { nix::libc::swapoff(name.as_ptr()) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error()).doing("stopping swap on", path.display())
    }
}

/// The environment variable by which stage 1 tells stage 2 the watchdog's descriptor.
pub const WATCHDOG_FD: &str = "SKERRY_WATCHDOG_FD";

/// An armed hardware watchdog: the machine is reset unless it is petted in time. Dropping it leaves it armed (unless the driver was
/// told otherwise): only [`Watchdog::release`] disarms.
#[derive(Debug)]
pub struct Watchdog(File);

/// `WDIOC_SETTIMEOUT`: `_IOWR('W', 6, int)`.
const SET_TIMEOUT: nix::libc::c_ulong = nix::request_code_readwrite!(b'W', 6, size_of::<nix::libc::c_int>());

impl Watchdog {
    /// Opens, and by that arms, a watchdog device.
    pub fn open(path: &Path) -> Result<Self> {
        File::options()
            .write(true)
            .open(path)
            .map(Self)
            .doing("arming the watchdog", path.display())
    }

    /// The watchdog that the program before us in this process left open, as [`WATCHDOG_FD`] says.
    pub fn inherited() -> Option<Self> {
        let fd: RawFd = std::env::var(WATCHDOG_FD).ok()?.parse().ok().filter(|fd| *fd > 2)?;
        let name = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
        if !name.to_string_lossy().contains("watchdog") {
            return None;
        }
        // SAFETY: the descriptor is open (it has a name in /proc), it was handed to this process for this purpose, and nothing else
        // in this program takes it: `inherited` is called once, at the start.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).ok()?;
        Some(Self(fd.into()))
    }

    /// Keeps it open over an exec, for [`Watchdog::inherited`]: set [`WATCHDOG_FD`] to the number returned.
    pub fn hand_over(self) -> Result<RawFd> {
        rustix::io::fcntl_setfd(&self.0, rustix::io::FdFlags::empty()).doing("handing over", "the watchdog")?;
        Ok(self.0.into_raw_fd())
    }

    /// Asks for a time-out; returns what the hardware took.
    pub fn set_timeout(&self, timeout: Duration) -> Result<Duration> {
        let mut seconds = nix::libc::c_int::try_from(timeout.as_secs()).unwrap_or(60);
        // SAFETY: the ioctl reads and writes one int, which lives on this stack frame.
        let answer = unsafe { nix::libc::ioctl(self.0.as_raw_fd(), SET_TIMEOUT as _, &raw mut seconds) };
        if answer != 0 {
            return Err(io::Error::last_os_error()).doing("setting the time-out of", "the watchdog");
        }
        Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    /// Says that we live.
    pub fn pet(&mut self) -> Result<()> {
        self.0.write_all(b"\0").doing("petting", "the watchdog")
    }

    /// Disarms it, where the driver allows that.
    pub fn release(mut self) -> Result<()> {
        self.0.write_all(b"V").doing("disarming", "the watchdog")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run() {
        let earlier = monotonic();
        assert!(earlier > Duration::ZERO && uptime() >= earlier);
        assert!(!hostname().is_empty());
        assert!(clock_set(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).is_err());
    }
}
