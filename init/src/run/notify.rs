//! Words from services: `sd_notify` datagrams, believed only from the unit's own processes.

use super::Pid1;
use super::groups::ABOVE;
use crate::supervisor::{Event, Role};
use skerry_sys::{cgroup, socket};

/// A longer message is not read.
const MAX_MESSAGE: usize = 4096;
/// So many are read before the loop looks at the rest.
const AT_ONCE: usize = 64;
/// A longer status is cut.
const MAX_STATUS: usize = 200;

impl Pid1 {
    pub(super) fn read_notify(&mut self) {
        let mut buffer = [0; MAX_MESSAGE];
        for _ in 0..AT_ONCE {
            let Some(fd) = &self.notify else { return };
            let Some((length, peer)) = socket::receive_from(fd, &mut buffer) else {
                return;
            };
            let (ready, status) = parse(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()));
            if !ready && status.is_none() {
                continue;
            }
            if let Some(name) = peer.and_then(|p| self.unit_of(p.pid)) {
                self.happened(Event::Notified { name, ready, status });
            }
        }
    }

    /// Whose process that is: by its number, or by its group.
    fn unit_of(&self, pid: u32) -> Option<String> {
        if let Some((name, Role::Main)) = self.processes.get(&pid) {
            return Some(name.clone());
        }
        let path = cgroup::of(pid)?;
        let name = path.strip_prefix(ABOVE)?.strip_prefix('/')?.split('/').next()?;
        self.state.entry(name).map(|e| e.unit.name.clone())
    }
}

/// What of the message counts: `READY=1`, `STATUS=`.
fn parse(text: &str) -> (bool, Option<String>) {
    let ready = text.lines().any(|l| l == "READY=1");
    let status = text.lines().rev().find_map(|l| l.strip_prefix("STATUS="));
    let printable = |s: &str| s.chars().filter(|c| !c.is_control()).take(MAX_STATUS).collect();
    (ready, status.map(printable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(parse("READY=1\n"), (true, None));
        assert_eq!(parse("STATUS=a\nSTATUS=b\x1b[2Jc\nREADY=1"), (true, Some("b[2Jc".into())));
        assert_eq!(parse("READY=0\nWATCHDOG=1"), (false, None));
        assert_eq!(parse(&format!("STATUS={}", "x".repeat(1000))).1.map(|s| s.len()), Some(MAX_STATUS));
    }
}
