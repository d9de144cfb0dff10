//! How does the machine come up, stay up and go down?
//!
//! One program, by the name and the words it is started with:
//!
//! | started as | is |
//! |---|---|
//! | `/init`, by the kernel | stage 1: from the initramfs to a verified root |
//! | `/sbin/init`, as PID 1 | stage 2: starts, keeps and stops everything |
//! | `init logd` | keeps what services print |
//! | `init final` | unmounts everything at the very end |
//!
//! PID 1 must never die, never block, never do network I/O. It has one thread; it opens nothing on data; what it is told from outside
//! is bounded and checked. There is no panic in it by intent, and `panic=abort` makes one a kernel panic, after which the kernel's
//! `panic=` starts the machine anew: a PID 1 in an unknown state is worse.

mod logd;
mod run;
mod stage1;
mod supervisor;
mod voice;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let is_pid1 = skerry_sys::process::own_pid() == 1;
    match words[..] {
        [_, "logd"] => told(logd::run()),
        [_, "final"] => ExitCode::from(u8::from(!run::final_child())),
        ["/init", ..] if is_pid1 => stage1::run(),
        _ if is_pid1 => told(run::run()),
        _ => {
            let _ = writeln!(
                std::io::stderr(),
                "init is PID 1 of a Skerry machine, and does nothing else; try: skerry reboot, skerry poweroff"
            );
            ExitCode::from(2)
        }
    }
}

/// For PID 1 this is the end of the machine: say why first.
fn told(ended: skerry_sys::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            voice::Voice::open().alarm(&why.to_string());
            ExitCode::FAILURE
        }
    }
}
