//! Where PID 1 speaks: the consoles and the kernel's log. Never blocks: what a slow line cannot take is dropped.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, PoisonError};

/// Every device of `console=`, written without waiting.
#[derive(Debug, Default)]
pub struct Console {
    devices: Vec<(String, Mutex<File>)>,
}

impl Console {
    /// Opens the active consoles; `/dev/console` if the kernel names none.
    pub fn open() -> Self {
        let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let mut devices: Vec<_> = names(&active)
            .iter()
            .filter_map(|n| Some((n.clone(), open(&format!("/dev/{n}"))?.into())))
            .collect();
        if devices.is_empty() {
            devices.extend(open("/dev/console").map(|f| ("console".to_owned(), f.into())));
        }
        Self { devices }
    }

    /// The devices' names, without `/dev/`: `tty0`, `ttyS0`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(|(n, _)| n.as_str())
    }

    /// Writes one line to each, dropping what does not fit.
    pub fn line(&self, text: &str) {
        let mut bytes = Vec::with_capacity(text.len() + 2);
        bytes.extend(text.bytes().map(|b| if b < b' ' && b != b'\t' { b' ' } else { b }));
        bytes.extend(b"\r\n");
        for (name, device) in &self.devices {
            let mut device = device.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever logs in, or ends, hangs the line up for all who have it open (vhangup(2)).
            if device.write(&bytes).is_err_and(|why| why.raw_os_error() == Some(nix::libc::EIO)) {
                if let Some(again) = open(&format!("/dev/{name}")) {
                    *device = again;
                    let _ = device.write(&bytes); // full or gone: a console is no reason to stop
                }
            }
        }
    }
}

/// The names in the kernel's list, the preferred one last as there, each once.
pub fn names(active: &str) -> Vec<String> {
    let mut out: Vec<String> = vec![];
    for name in active.split_ascii_whitespace() {
        if !name.contains('/') && !out.iter().any(|o| o == name) {
            out.push(name.to_owned());
        }
    }
    out
}

fn open(path: &str) -> Option<File> {
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY | nix::libc::O_CLOEXEC;
    OpenOptions::new().write(true).custom_flags(flags).open(path).ok()
}

/// Puts a line into the kernel's log, so that it is in `dmesg` and, after a crash, in pstore. At debug level: the console has it
/// from us already.
pub fn kmsg(text: &str) {
    if let Some(mut file) = open("/dev/kmsg") {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(900).collect();
        let _ = file.write(format!("<7>init: {line}\n").as_bytes()); // no log is no reason to stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_console_once() {
        assert_eq!(names("tty0 ttyS0\n"), ["tty0", "ttyS0"]);
        assert_eq!(names("ttyS0 ttyS0 ../x"), ["ttyS0"]);
        assert_eq!(names(""), Vec::<String>::new());
    }
}
