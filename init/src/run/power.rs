//! The power button: input devices that have a power key and say so in their name.

use skerry_sys::event::{Interest, Poller};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// `linux/input-event-codes.h`
const KEY_POWER: usize = 116;
const EV_KEY: u16 = 1;
/// `struct input_event` of a 64-bit kernel: two longs of time, type, code, value.
const EVENT: usize = 24;
/// `O_NONBLOCK`, the same on amd64, arm64 and arm.
const NONBLOCK: i32 = 0o4000;
/// Drivers come late: while the machine starts this is the pause between two looks, then twice that each time, up to [`SELDOM`].
const OFTEN: Duration = Duration::from_secs(1);
const STARTING: Duration = Duration::from_secs(90);
const SELDOM: Duration = Duration::from_secs(300);

/// All power buttons found so far.
#[derive(Debug, Default)]
pub struct Buttons {
    open: BTreeMap<u64, (String, File)>,
    count: u64,
    look_at: Duration,
    pause: Option<Duration>,
}

impl Buttons {
    /// Looks for new ones, if that is due.
    pub fn look(&mut self, now: Duration, poller: &Poller, first_token: u64) {
        if now < self.look_at {
            return;
        }
        let pause = match self.pause {
            Some(p) if now > STARTING => (p * 2).min(SELDOM),
            _ => OFTEN,
        };
        self.pause = Some(pause);
        self.look_at = now + pause;
        for name in buttons() {
            if self.open.values().any(|(n, _)| *n == name) {
                continue;
            }
            if let Ok(file) = File::options().read(true).custom_flags(NONBLOCK).open(format!("/dev/input/{name}")) {
                self.count += 1;
                let token = first_token + self.count;
                if poller.add(&file, token, Interest::Read).is_ok() {
                    self.open.insert(token, (name, file));
                }
            }
        }
    }

    /// When [`Buttons::look`] is due.
    pub fn next_due(&self) -> Duration {
        self.look_at
    }

    /// Reads one; whether it was pressed.
    pub fn pressed(&mut self, token: u64) -> bool {
        let Some((_, file)) = self.open.get_mut(&token) else { return false };
        let mut buffer = [0; EVENT * 32];
        match file.read(&mut buffer) {
            Ok(n) if n > 0 => buffer.get(..n).unwrap_or_default().chunks_exact(EVENT).any(is_press),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => false,
            _ => {
                self.open.remove(&token); // it was unplugged
                false
            }
        }
    }
}

fn buttons() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/input").into_iter().flatten().flatten();
    let names = entries
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|n| n.starts_with("event"));
    names
        .filter(|n| {
            let read = |file: &str| fs::read_to_string(format!("/sys/class/input/{n}/device/{file}")).unwrap_or_default();
            is_button(&read("name"), &read("capabilities/key"))
        })
        .collect()
}

/// A keyboard may have a power key too; that one is not meant.
fn is_button(name: &str, keys: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words: Vec<u64> = keys
        .split_ascii_whitespace()
        .rev()
        .map(|w| u64::from_str_radix(w, 16).unwrap_or(0))
        .collect();
    let has_key = words.get(KEY_POWER / 64).is_some_and(|w| w & (1 << (KEY_POWER % 64)) != 0);
    has_key && ["power", "pwr", "gpio"].iter().any(|w| name.contains(w))
}

fn is_press(event: &[u8]) -> bool {
    let half = |at: usize| event.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let value = event.get(20..24).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
    half(16) == Some(EV_KEY) && half(18).map(usize::from) == Some(KEY_POWER) && value == Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_power_buttons() {
        let with = "10000000000000 0\n";
        assert!(is_button("Power Button\n", with) && is_button("gpio-keys", with) && is_button("pwr_button", with));
        assert!(!is_button("AT Translated Set 2 keyboard", with));
        assert!(!is_button("Power Button", "0 0") && !is_button("Power Button", ""));
    }

    #[test]
    fn only_the_press_counts() {
        let event =
            |kind: u16, code: u16, value: i32| [&[0; 16][..], &kind.to_ne_bytes(), &code.to_ne_bytes(), &value.to_ne_bytes()].concat();
        assert!(is_press(&event(1, 116, 1)));
        for other in [event(1, 116, 0), event(1, 30, 1), event(0, 116, 1), vec![]] {
            assert!(!is_press(&other));
        }
    }
}
