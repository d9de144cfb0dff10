//! The name by which storage servers know this machine: made once, from the machine-id, and kept on data.

use super::{Failures, Settings, one};
use crate::root::Root;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Where iscsid looks for it. An owner's own name stays.
const NAME: &str = "/etc/iscsi/initiatorname.iscsi";

/// Makes it, where it is missing.
pub fn initiator(s: &Settings) -> Failures {
    one(provide(&s.root))
}

fn provide(root: &Root) -> Result<()> {
    if root
        .text(NAME)
        .is_some_and(|text| text.lines().any(|l| l.trim_start().starts_with("InitiatorName=")))
    {
        return Ok(());
    }
    let id = root
        .word("/etc/machine-id")
        .with_context(|| format!("making {NAME}: there is no machine-id to make it from"))?;
    root.dir("/etc/iscsi", 0o755)?;
    root.write(NAME, &format!("InitiatorName={}\n", name(&id)), 0o600)
}

/// Not the machine-id itself, which is for the machine alone. The prefix is the one that Debian's own package uses.
fn name(machine_id: &str) -> String {
    let digest = Sha256::digest(format!("skerry iscsi initiator {machine_id}").as_bytes());
    let short = digest.iter().take(6).fold(String::new(), |text, b| format!("{text}{b:02x}"));
    format!("iqn.1993-08.org.debian:01:{short}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn the_name_is_made_once_and_the_owners_own_stays() {
        let root = scratch("initiator");
        assert!(provide(&root).unwrap_err().to_string().contains("no machine-id"));
        root.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444).unwrap();
        provide(&root).unwrap();
        let made = root.text(NAME).unwrap();
        assert!(
            made.starts_with("InitiatorName=iqn.1993-08.org.debian:01:") && !made.contains("0123456789ab"),
            "{made}"
        );
        root.write("/etc/machine-id", "another\n", 0o444).unwrap();
        provide(&root).unwrap();
        assert_eq!(root.text(NAME).unwrap(), made);
        root.write(NAME, "# mine\nInitiatorName=iqn.2020-01.org.example:me\n", 0o600)
            .unwrap();
        provide(&root).unwrap();
        assert!(root.text(NAME).unwrap().contains("org.example"));
    }
}
