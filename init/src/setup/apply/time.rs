//! What time needs: the clock's floor, chrony's settings, directories in RAM.

use super::accounts::user_id;
use super::{Failures, Settings, one};
use crate::lines::joined;
use anyhow::{Context, Result};

const CHRONY_ALWAYS: &str = "\
# Those that DHCP names.
sourcedir /run/chrony-dhcp
driftfile /var/lib/chrony/chrony.drift
ntsdumpdir /var/lib/chrony
# A machine that was off for months steps; one that runs is slewed.
makestep 1 3
rtcsync
# Nobody asks us.
port 0
cmdport 0
";

/// Sets the clock forward where it is certainly wrong.
pub fn floor(s: &Settings) -> Failures {
    one(crate::clock::floor(&s.root))
}

/// Directories that daemons expect.
pub fn directories(s: &Settings) -> Failures {
    let passwd = s.root.text("/etc/passwd").unwrap_or_default();
    let chrony = user_id(&passwd, "_chrony").unwrap_or((0, 0));
    let make = |path: &str, mode: u32, owner: (u32, u32)| -> Result<()> {
        s.root.dir(path, mode)?;
        if s.root.is_system() {
            std::os::unix::fs::chown(s.root.at(path), Some(owner.0), Some(owner.1)).with_context(|| format!("giving away {path}"))?;
        }
        Ok(())
    };
    [
        make("/run/chrony", 0o750, chrony),
        make("/run/chrony-dhcp", 0o755, (0, 0)),
        make("/var/lib/chrony", 0o750, chrony),
        make("/var/log/chrony", 0o750, chrony),
    ]
    .into_iter()
    .filter_map(Result::err)
    .collect()
}

/// Writes chrony's settings.
pub fn servers(s: &Settings) -> Failures {
    one(s
        .root
        .write_changed("/etc/chrony/chrony.conf", &chrony_conf(&s.config.skerry.ntp_servers), 0o644))
}

fn chrony_conf(servers: &[String]) -> String {
    let mut lines = vec!["# Written by Skerry from config.yaml (skerry.ntp_servers) at each boot.".to_owned()];
    let good = |s: &&String| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:_".contains(&b));
    lines.extend(servers.iter().filter(good).map(|server| format!("server {server} iburst")));
    if servers.is_empty() {
        lines.push("pool 2.debian.pool.ntp.org iburst maxsources 4".to_owned());
    }
    joined(lines) + CHRONY_ALWAYS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::golden;

    #[test]
    fn golden_files() {
        golden("chrony.conf", &chrony_conf(&[]));
        golden(
            "chrony-servers.conf",
            &chrony_conf(&["10.0.0.1".into(), "ntp.plant.example".into(), "bad name\nserver x".into()]),
        );
    }
}
