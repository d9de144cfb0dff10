//! Whether the processor can run the machine itself (KVM), found out by letting it.
//!
//! The device node says little: in a machine without nested virtualisation it may be there and fail at the first instruction.

use crate::machine::release::Release;
use crate::machine::serial::Serial;
use crate::machine::tools::Tools;
use anyhow::{Context, Result};
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long a kernel may take to say its first word by KVM. It takes a fraction of a second where KVM works.
const FIRST_WORD: Duration = Duration::from_secs(8);

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// The processor.
    Kvm,
    /// QEMU's translator: works everywhere, ten times slower.
    Tcg,
}

impl Accel {
    /// QEMU's arguments for it.
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "max"],
            // Without fast strings Linux clears pages by words: translated byte by byte that was a tenth of the time to Ready.
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max,erms=off,fsrm=off,la57=off"],
        }
    }

    /// What the kernel is told for it. Translated, each timer that is set is a write to the interrupt controller under QEMU's one lock:
    /// with a plain tick the kernel takes a third of the processor less, and Go's many short sleeps cost nothing. On a busy
    /// computer the timer may not tick while the kernel tests whether it does, which it takes for a broken board.
    pub fn kernel_words(self) -> &'static str {
        match self {
            Self::Kvm => "",
            Self::Tcg => " nohz=off highres=off no_timer_check",
        }
    }

    /// Boots the release's kernel by KVM until its first word. `SKERRY_ACCEL=kvm|tcg` says it without looking.
    pub fn find(tools: &Tools, release: &Release, scratch: &Path) -> Result<Self> {
        match std::env::var("SKERRY_ACCEL").as_deref() {
            Ok("kvm") => return Ok(Self::Kvm),
            Ok("tcg") => return Ok(Self::Tcg),
            _ => {}
        }
        if OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Self::Tcg);
        }
        let (ours, theirs) = UnixStream::pair().context("making a console line")?;
        let mut command = tools.qemu()?;
        command
            .args(Self::Kvm.arguments())
            .args(["-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command
            .args(["-serial", "stdio", "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"])
            .arg("-kernel")
            .arg(release.kernel());
        let mut child = tools.bound(&command);
        child.stdin(Stdio::null()).stdout(OwnedFd::from(theirs)).stderr(Stdio::null());
        let mut child = child.spawn().context("starting QEMU to try KVM")?;
        let serial = Serial::read(ours, &scratch.join("kvm.log"), Instant::now())?;
        let works = serial.wait_any(&["Linux version"], 0, FIRST_WORD).is_ok();
        let _ = child.kill(); // it may have ended already
        child.wait().context("ending the machine that tried KVM")?;
        Ok(if works { Self::Kvm } else { Self::Tcg })
    }
}
