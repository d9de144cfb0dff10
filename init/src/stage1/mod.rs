//! Stage 1: from the kernel's initramfs to a verified root.
//!
//! ```text
//! mounts → drivers (by modalias) → watchdog → root device (by events) → verity → mount → leave the initramfs → /sbin/init
//!                                             or medium (by events) → root.img on it as a device ↗
//! ```
//!
//! It never mounts a root that is not verified. What goes wrong is said on every console, and the machine is started again, so that
//! the boot loader can choose another system.

mod keys;
mod leave;
mod medium;
mod other;
mod root;
mod words;

use root::{Place, Trouble};
use skerry_sys::kmsg::{Console, kmsg};
use skerry_sys::machine::{self, Watchdog};
use skerry_sys::mount::{self, MountFlags};
use skerry_sys::uevent::Listener;
use skerry_sys::{file, module};
use std::path::Path;
use std::time::Duration;
use words::Words;

/// Longer than every bounded wait of stage 1 and the start of stage 2 together.
const WATCHDOG: Duration = Duration::from_secs(60);
/// What the root needs and no hardware asks for.
const BY_NEED: [&str; 3] = ["dm_verity", "crypto-sha256", "fs-erofs"];
/// Where the root is put together.
const NEW_ROOT: &str = "/newroot";

/// Goes to the real root and becomes its `/sbin/init`. Ends only by a restart of the machine.
pub fn run() -> ! {
    let mounted = mount_kernel_views();
    let words = Words::parse(&file::read_text("/proc/cmdline", 1 << 16).unwrap_or_default());
    let console = Console::open();
    let mut watchdog = None;
    let trouble = match mounted {
        Ok(()) => match to_real_root(&words, &console, &mut watchdog) {
            Ok(never) => match never {},
            Err(trouble) => trouble,
        },
        Err(why) => Trouble::from(why),
    };
    give_up(&trouble, &words, &console, watchdog)
}

fn mount_kernel_views() -> skerry_sys::Result<()> {
    let plain = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    for (fstype, target, flags, data) in [
        ("proc", "/proc", plain, ""),
        ("sysfs", "/sys", plain, ""),
        ("devtmpfs", "/dev", MountFlags::NOSUID, "mode=0755"),
        ("tmpfs", "/run", MountFlags::NOSUID | MountFlags::NODEV, "mode=0755"),
    ] {
        file::make_dir(target, 0o755)?;
        mount::mount(fstype, target, fstype, flags, data)?;
    }
    Ok(())
}

fn to_real_root(words: &Words, console: &Console, watchdog: &mut Option<Watchdog>) -> Result<std::convert::Infallible, Trouble> {
    // Before the first driver, so that no device comes unheard.
    let listener = Listener::open()?;
    let drivers = match module::Index::of_running_kernel() {
        Ok(index) => index,
        Err(why) => {
            // A kernel with everything built in has no index, and needs none.
            say(console, &format!("going on without modules: {why}"));
            module::Index::default()
        }
    };
    for failed in module::coldplug(&drivers).failed {
        kmsg(&failed.to_string());
    }
    *watchdog = arm(console);
    for name in BY_NEED {
        if let Err(why) = module::load(&drivers, name, "") {
            // It may be built in; if not, the step that needs it says what is missing.
            kmsg(&why.to_string());
        }
    }
    let request = words.root()?;
    let is_medium = matches!(request.place, Place::Medium(_));
    if is_medium {
        medium::prepare(&drivers);
    }
    let found = root::wait_for(&request, &listener, &drivers, |line| say(console, line))?;
    let device = if is_medium { medium::root_on(&found)? } else { found };
    let mapped = root::verified(&request, &device)?;
    file::make_dir(NEW_ROOT, 0o755)?;
    mount::mount(&mapped, NEW_ROOT, "erofs", MountFlags::RDONLY, "")?;
    kmsg(&format!(
        "root {} verified by {}, {} ms after power-on",
        device.display(),
        request.hash,
        machine::uptime().as_millis()
    ));
    keys::bring(Path::new(keys::FROM), Path::new(keys::TO), &mut |line| say(console, line));
    leave::to(Path::new(NEW_ROOT), watchdog).map_err(Trouble::from)
}

/// A machine without one is fine; one whose watchdog cannot be armed says so.
fn arm(console: &Console) -> Option<Watchdog> {
    let path = Path::new("/dev/watchdog");
    if !path.exists() {
        return None;
    }
    let armed = Watchdog::open(path).and_then(|watchdog| watchdog.set_timeout(WATCHDOG).map(|_| watchdog));
    armed.inspect_err(|why| say(console, &why.to_string())).ok()
}

/// Stage 1 has no log but the console and the kernel's.
fn say(console: &Console, line: &str) {
    console.line(&format!("init: {line}"));
    kmsg(line);
}

fn give_up(trouble: &Trouble, words: &Words, console: &Console, mut watchdog: Option<Watchdog>) -> ! {
    for line in trouble.lines() {
        say(console, line);
    }
    let mut restart_after = words.restart_after;
    // On a disk of ours: the other slot may still be whole.
    if let (Ok(request), Some(after)) = (words.root(), restart_after) {
        match other::try_it(&request.place, words.why()) {
            Ok(slot) => {
                say(console, &format!("slot {slot} is tried instead"));
                restart_after = Some(after.min(words::RESTART_TRIAL_AFTER));
            }
            Err(why) => say(console, &format!("the other slot is not tried: {why}")),
        }
    }
    match restart_after {
        Some(after) => {
            say(
                console,
                &format!("this system cannot start; the machine restarts in {} s", after.as_secs()),
            );
            std::thread::sleep(after);
            if let Err(why) = machine::reboot() {
                say(console, &why.to_string());
            }
        }
        None => say(console, "this system cannot start; the machine stays as it is (skerry.panic=0)"),
    }
    loop {
        // Held on purpose, or a restart that the kernel refused: in the first case the watchdog must not end it.
        if restart_after.is_none() {
            watchdog.as_mut().map(Watchdog::pet);
        }
        std::thread::sleep(Duration::from_secs(10));
    }
}
