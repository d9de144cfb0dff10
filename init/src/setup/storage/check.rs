//! Whether the data's file system is sound: by its own word when it was left in order, by `e2fsck -p` when it was not.

use skerry_sys::block::Ext4;
use skerry_sys::process;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// After this the check is ended, and the disk is not used in this boot. A journal's replay takes a second; a full check of a large, slow
/// disk takes minutes. PID 1 waits 600 s for this step; the rest of it needs some of them.
const LIMIT: Duration = Duration::from_secs(540);
/// Between two words on the console.
const PATIENCE: Duration = Duration::from_secs(5);
const PROGRAM: &str = "/sbin/e2fsck";

/// What the check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It can be mounted, and this is why.
    Sound(String),
    /// It must not be written to.
    Unsound(String),
}

/// Checks the file system on `device`.
pub fn check(device: &Path, found: Option<&Ext4>, say: &impl Fn(&str)) -> Verdict {
    if found.is_some_and(|fs| fs.is_clean && !fs.needs_recovery) {
        // What e2fsck -p would say too, without a process.
        return Verdict::Sound("it was left in order".to_owned());
    }
    let started = Command::new(PROGRAM)
        .args(["-p".as_ref(), device.as_os_str()])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = match started {
        Ok(child) => child,
        // The kernel replays the journal by itself, and refuses what it cannot mount.
        Err(why) => return Verdict::Sound(format!("it was not checked: starting {PROGRAM}: {why}")),
    };
    let pid = child.id();
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let mut gone = Duration::ZERO;
    loop {
        match receiver.recv_timeout(PATIENCE) {
            Ok(Ok(output)) => return explain(device, &output),
            Ok(Err(why)) => return Verdict::Unsound(format!("waiting for {PROGRAM}: {why}")),
            Err(RecvTimeoutError::Disconnected) => return Verdict::Unsound(format!("waiting for {PROGRAM}: it was lost")),
            Err(RecvTimeoutError::Timeout) => gone += PATIENCE,
        }
        if gone >= LIMIT {
            end(pid, &receiver);
            return Verdict::Unsound(format!(
                "checking it took longer than {} s and was ended; try: e2fsck -p {} by hand",
                LIMIT.as_secs(),
                device.display()
            ));
        }
        say(&format!(
            "checking {} after an unclean end, for {} s now (at most {} s)",
            device.display(),
            gone.as_secs(),
            LIMIT.as_secs()
        ));
    }
}

/// e2fsck ends at its next safe point; one that hangs on its disk is not waited for. That it is gone already is no harm.
fn end(pid: u32, gone: &Receiver<std::io::Result<Output>>) {
    const SIGTERM: i32 = 15;
    const SIGKILL: i32 = 9;
    for signal in [SIGTERM, SIGKILL] {
        let _ = process::kill(pid, signal);
        if gone.recv_timeout(PATIENCE).is_ok() {
            return;
        }
    }
}

/// What an exit of e2fsck means (its manual page, "EXIT CODE").
fn explain(device: &Path, output: &Output) -> Verdict {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let last = last_words(&String::from_utf8_lossy(&text));
    match output.status.code() {
        Some(0) => Verdict::Sound("its journal was replayed after an unclean end".to_owned()),
        // 1: repaired. 2: repaired, and a mounted root would need a reboot.
        Some(code @ 1..=3) => Verdict::Sound(format!("it was repaired after an unclean end (e2fsck {code}: {last})")),
        Some(code) if code & 4 != 0 => Verdict::Unsound(format!(
            "it has damage that is not repaired without asking ({last}); try: e2fsck -f {}, from another system",
            device.display()
        )),
        Some(code) => Verdict::Unsound(format!("it could not be checked (e2fsck {code}: {last})")),
        None => Verdict::Unsound(format!("its check was killed ({last})")),
    }
}

/// The last line that says something, short enough for a console.
fn last_words(text: &str) -> String {
    let line = text
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("it said nothing");
    line.chars().filter(|c| !c.is_control()).take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn verdict(status: ExitStatus, said: &str) -> Verdict {
        explain(
            Path::new("/dev/vdb"),
            &Output {
                status,
                stdout: said.into(),
                stderr: vec![],
            },
        )
    }

    #[test]
    fn each_exit_is_explained() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        let table = [
            (exit(0), true, "journal was replayed"),
            (exit(1), true, "repaired"),
            (exit(2), true, "repaired"),
            (exit(4), false, "try: e2fsck -f /dev/vdb"),
            (exit(12), false, "try: e2fsck -f /dev/vdb"),
            (exit(8), false, "could not be checked (e2fsck 8: b)"),
            (exit(32), false, "could not be checked"),
            (ExitStatus::from_raw(9), false, "killed"),
        ];
        for (status, is_sound, said) in table {
            let (found, text) = match verdict(status, "a\nb\n\n") {
                Verdict::Sound(text) => (true, text),
                Verdict::Unsound(text) => (false, text),
            };
            assert_eq!(found, is_sound, "{status}");
            assert!(text.contains(said), "{status}: {text}");
        }
    }

    #[test]
    fn what_was_left_in_order_is_not_checked() {
        let fs = Ext4 {
            label: String::new(),
            uuid: String::new(),
            is_clean: true,
            needs_recovery: false,
        };
        assert!(matches!(check(Path::new("/none"), Some(&fs), &|_| ()), Verdict::Sound(_)));
    }
}
