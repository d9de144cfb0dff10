//! What PID 1 says on the consoles: one line for each thing that happened, at its time since the kernel started.

use crate::supervisor::{News, Tell};
use skerry_control::unit::Kind;
use skerry_sys::kmsg::{self, Console};
use skerry_sys::machine::uptime;
use std::time::Duration;

/// Where PID 1 speaks.
#[derive(Debug, Default)]
pub struct Voice {
    console: Console,
}

impl Voice {
    /// Opens the consoles.
    pub fn open() -> Self {
        Self { console: Console::open() }
    }

    /// The consoles' names: `tty0`, `ttyS0`.
    pub fn consoles(&self) -> Vec<String> {
        self.console.names().map(str::to_owned).collect()
    }

    /// Something about the machine.
    pub fn say(&self, text: &str) {
        self.console.line(&format!("[{:7.2}] {text}", uptime().as_secs_f64()));
    }

    /// Something that a person must know of; it is kept in the kernel's log too.
    pub fn alarm(&self, text: &str) {
        self.say(text);
        kmsg::kmsg(text);
    }

    /// What became of a unit.
    pub fn tell(&self, tell: &Tell, kind: Kind) {
        if tell.quiet {
            return;
        }
        if let Some(news) = words(&tell.news, kind) {
            let line = format!("{:<28} {news}", tell.title);
            match tell.news {
                News::Failed { .. } | News::Overran(_) | News::Killed => self.alarm(&line),
                _ => self.say(&line),
            }
        }
    }
}

/// What a person reads; nothing for what need not be told.
fn words(news: &News, kind: Kind) -> Option<String> {
    Some(match news {
        News::Started(_) => return None,
        News::Ready => "ready".to_owned(),
        News::Done => "done".to_owned(),
        News::Failed {
            why, again: Some(pause), ..
        } => format!("FAILED: {why}; again in {}", span(*pause)),
        News::Failed { why, again: None, .. } => format!("FAILED: {why}"),
        News::Slow { doing, for_long, why } if why.is_empty() => {
            let what = if kind == Kind::Service && *doing == "starting" {
                "it has not said that it is ready"
            } else {
                "it has not ended"
            };
            format!("still {doing} after {}: {what}", span(*for_long))
        }
        News::Slow { doing, for_long, why } => format!("still {doing} after {}: {why}", span(*for_long)),
        News::Overran(limit) if kind == Kind::Service => format!("not ready after {}; it goes on", span(*limit)),
        News::Overran(limit) => format!("takes longer than {}; it is stopped", span(*limit)),
        News::Killed => "did not stop when told to, and was killed".to_owned(),
        News::Stopped => "stopped".to_owned(),
    })
}

/// A time as a person says it: `0.4 s`, `12 s`, `3 min`.
pub fn span(time: Duration) -> String {
    let tenths = (time.as_millis() + 50) / 100;
    match tenths {
        0..100 if tenths % 10 != 0 => format!("{}.{} s", tenths / 10, tenths % 10),
        0..1200 => format!("{} s", tenths / 10),
        _ => format!("{} min", tenths / 600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_a_person_can_read() {
        let s = Duration::from_secs;
        let one_shot = Kind::OneShot { retry: false, every: None };
        for (news, kind, want) in [
            (News::Ready, Kind::Service, "ready"),
            (
                News::Failed {
                    why: "killed by SIGSEGV".into(),
                    again: Some(Duration::from_millis(400)),
                    show_log: true,
                },
                Kind::Service,
                "FAILED: killed by SIGSEGV; again in 0.4 s",
            ),
            (
                News::Slow {
                    doing: "starting",
                    for_long: s(5),
                    why: String::new(),
                },
                Kind::Service,
                "still starting after 5 s: it has not said that it is ready",
            ),
            (
                News::Slow {
                    doing: "starting",
                    for_long: s(65),
                    why: "no carrier on eth0".into(),
                },
                Kind::Service,
                "still starting after 65 s: no carrier on eth0",
            ),
            (News::Overran(s(600)), one_shot, "takes longer than 10 min; it is stopped"),
        ] {
            assert_eq!(words(&news, kind).unwrap(), want);
        }
    }
}
