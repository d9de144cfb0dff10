//! `authorized_keys` of each login user, exactly as the configuration says.

use super::accounts::user_id;
use super::{Failures, Settings};
use crate::authorized::{self, SKERRY};
use crate::root::Root;
use anyhow::{Context, Result, bail};

/// Where the last fetched copies of published keys are kept.
pub const FETCHED: &str = "/var/lib/skerry/ssh-keys";

/// Writes them twice: below `/etc`, which is in RAM and so cannot be full, broken or old; and in the home, where k3OS had them and
/// people look.
pub fn apply(s: &Settings) -> Failures {
    let mut failures = vec![];
    let fetched = |name: &str| s.root.text(&format!("{FETCHED}/{}", authorized::cache_name(name)));
    for (user, keys) in authorized::by_user(&s.config) {
        let text = authorized::render(&keys, fetched);
        let second = (user == SKERRY).then_some("rancher");
        for name in std::iter::once(user.as_str()).chain(second) {
            failures.extend(
                s.root
                    .write_changed(&format!("/etc/ssh/authorized_keys/{name}"), &text, 0o644)
                    .err(),
            );
        }
        failures.extend(
            home(&s.root, &user, &text)
                .with_context(|| format!("writing the keys of {user}"))
                .err(),
        );
    }
    failures
}

fn home(root: &Root, user: &str, text: &str) -> Result<()> {
    let dir = format!("/home/{user}/.ssh");
    let path = format!("{dir}/authorized_keys");
    let at = root.at(&dir);
    if std::fs::symlink_metadata(&at).is_ok_and(|m| !m.is_dir()) {
        bail!("{dir} is no directory; remove it");
    }
    root.dir(&dir, 0o700)?;
    let ids = user_id(&root.text("/etc/passwd").unwrap_or_default(), user);
    let Some((uid, gid)) = ids.filter(|_| root.is_system()) else {
        return root.write_changed(&path, text, 0o600);
    };
    std::os::unix::fs::chown(&at, Some(uid), Some(gid))?;
    if root.text(&path).as_deref() == Some(text) {
        return Ok(());
    }
    root.write_owned(&path, text, 0o600, uid, gid).inspect_err(|_| {
        // Old keys that cannot be replaced must not stay valid.
        let _ = std::fs::remove_file(root.at(&path));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::root::scratch;
    use skerry_config::types::Config;

    #[test]
    fn removed_keys_vanish_and_fetched_ones_are_there_without_a_network() {
        let keys = ["ssh-ed25519 AAAA a", "github:me"].map(str::to_owned).to_vec();
        let s = Settings {
            root: scratch("logins"),
            config: Config {
                ssh_authorized_keys: keys,
                ..Config::default()
            },
            facts: Facts::default(),
        };
        s.root
            .write(
                &format!("{FETCHED}/{}", authorized::cache_name("github:me")),
                "ssh-rsa AAAAB me\n",
                0o644,
            )
            .unwrap();
        assert!(apply(&s).is_empty());
        for path in [
            "/etc/ssh/authorized_keys/skerry",
            "/etc/ssh/authorized_keys/rancher",
            "/home/skerry/.ssh/authorized_keys",
        ] {
            assert!(
                s.root.text(path).unwrap().ends_with("\nssh-ed25519 AAAA a\nssh-rsa AAAAB me\n"),
                "{path}"
            );
        }
        let s = Settings {
            config: Config::default(),
            ..s
        };
        assert!(apply(&s).is_empty());
        assert!(!s.root.text("/home/skerry/.ssh/authorized_keys").unwrap().contains("AAAA"));
    }
}
