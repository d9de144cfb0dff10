//! `setup metadata`: what a cloud says of this machine, asked once the network is up; then everything is planned anew with it.
//!
//! ```text
//! setup plan: data_sources, firmware ──▶ WANTED (and units up to the network only, as roles and commands may still come)
//! setup metadata: ask ──▶ /run/config/… (sources, as k3OS's) ──▶ copy on data ──▶ DONE ──▶ PID 1 plans again: all units
//!                  └─ nobody answers: the copy of the last boot that heard something, or nothing
//! ```
//!
//! The boot is held up by at most [`LIMIT`] after the network is there, whatever a server does: each question has its bound in
//! `fetch`, and the program that asks is ended when the time is over.

mod ask;
mod said;

pub use ask::LIMIT;

use crate::facts::Facts;
use crate::pid1;
use crate::root::Root;
use anyhow::{Context, Result};
use said::Said;
use serde::{Deserialize, Serialize};
use skerry_config::cloud::{self, Firmware};
use skerry_config::types::Config;
use skerry_config::{Source, SourceKind};
use skerry_control::request::Request;

/// Whom to ask, as `setup plan` decided.
pub const WANTED: &str = "/run/skerry/metadata-wanted.json";
/// What came of it; there once it is over.
pub const DONE: &str = "/run/skerry/metadata.json";
/// Still to come: nothing of the owner's that may depend on it is started.
pub const PENDING: &str = "pending";
/// It has come, or will not.
pub const OVER: &str = "over";

/// Whom to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// Clouds, in order.
    pub clouds: Vec<String>,
    /// Files, after them.
    pub files: Vec<String>,
    /// The owner named them.
    pub named: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Who answered; none = nobody.
    pub source: Option<String>,
    /// It is the copy of an earlier boot.
    pub is_copy: bool,
    /// What the others said instead.
    pub why: Vec<String>,
}

/// Decides whom to ask, from what the configuration and the firmware say.
pub fn wanted(root: &Root, config: &Config, sources: &[Source]) -> Wanted {
    let is_owners = |s: &Source| {
        !matches!(
            s.kind,
            SourceKind::Cmdline | SourceKind::MetadataHostname | SourceKind::MetadataKeys | SourceKind::UserData
        )
    };
    let says = |name: &str| root.word(&format!("/sys/class/dmi/id/{name}")).unwrap_or_default();
    let firmware = Firmware {
        vendor: says("sys_vendor"),
        product: says("product_name"),
        asset_tag: says("chassis_asset_tag"),
        bios: says("bios_vendor"),
    };
    let wanted = cloud::wanted(&config.skerry.data_sources, &firmware, sources.iter().any(is_owners));
    Wanted {
        clouds: wanted.clouds.into_iter().map(str::to_owned).collect(),
        files: wanted.files,
        named: wanted.named,
    }
}

/// Where this boot stands with it: empty, [`PENDING`] or [`OVER`]. An installer asks nobody.
pub fn stands(root: &Root, mode: &str, wanted: &Wanted) -> &'static str {
    if root.at(DONE).exists() {
        OVER
    } else if mode == crate::boot::INSTALL || (wanted.clouds.is_empty() && wanted.files.is_empty()) {
        ""
    } else {
        PENDING
    }
}

/// The name that a cloud gave and that is no configuration: it counts where nobody named the machine.
pub fn weak_hostname(root: &Root) -> Option<String> {
    root.word(said::HOSTNAME)
}

/// `setup metadata`.
pub fn run() -> Result<()> {
    let root = Root::system();
    let wanted = root.text(WANTED).context("reading whom to ask: run `setup plan` first")?;
    let wanted: Wanted = serde_json::from_str(&wanted).with_context(|| format!("reading {WANTED}"))?;
    let (said, why) = ask::ask(&root, &wanted);
    let changed = take(&root, said, why)?;
    let was_pending = Facts::read(&root).is_ok_and(|facts| facts.metadata == PENDING);
    if changed || was_pending { plan_again() } else { Ok(()) }
}

/// Leaves what was said, or what was kept, for the next planning; whether it is other than before.
fn take(root: &Root, said: Option<Said>, why: Vec<String>) -> Result<bool> {
    for line in &why {
        eprintln!("{line}");
    }
    let is_copy = said.is_none();
    let said = match said {
        Some(said) => {
            // A disk that takes no more does not keep the machine from its metadata.
            if let Err(why) = said.keep(root) {
                eprintln!(
                    "keeping a copy of what {} says: {}; it counts in this boot only",
                    said.source,
                    crate::said::said(&why)
                );
            }
            Some(said)
        }
        None => Said::kept(root),
    };
    match &said {
        Some(said) if is_copy => println!("nobody answers; what {} said in an earlier boot counts", said.source),
        Some(said) => println!("{} answers: {}", said.source, said.summary()),
        None => println!("no metadata; to ask again: skerry restart metadata"),
    }
    let changed = said.clone().unwrap_or_default().leave(root)?;
    let report = Report {
        is_copy: is_copy && said.is_some(),
        source: said.map(|said| said.source),
        why,
    };
    root.write(DONE, &serde_json::to_string(&report)?, 0o644)?;
    Ok(changed)
}

/// Asks PID 1 to read the configuration again.
fn plan_again() -> Result<()> {
    pid1::ask(&Request::Reload, "asking PID 1 to read the configuration again").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;
    use skerry_config::{load, order};

    fn said(name: &str) -> Said {
        Said {
            source: "aws".into(),
            hostname: Some(name.into()),
            hostname_counts: true,
            keys: vec!["ssh-rsa AAAAB3 cloud".into()],
            user_data: Some(b"#cloud-config\nk3os: {k3s_args: [agent]}\n".to_vec()),
        }
    }

    #[test]
    fn whom_to_ask() {
        let root = scratch("metadata-wanted");
        root.write("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n", 0o444).unwrap();
        let mut config = Config::default();
        let cmdline = Source::new(SourceKind::Cmdline, "/proc/cmdline", "");
        let owners = Source::new(SourceKind::System, "/skerry/system/config.yaml", "");
        let by_firmware = wanted(&root, &config, std::slice::from_ref(&cmdline));
        assert_eq!((by_firmware.clouds.as_slice(), by_firmware.named), (&["aws".to_owned()][..], false));
        assert_eq!(wanted(&root, &config, &[cmdline, owners.clone()]), Wanted::default());
        config.skerry.data_sources = vec!["gcp".into(), "file=/x".into()];
        let named = wanted(&root, &config, &[owners]);
        assert_eq!(
            (named.clouds.as_slice(), named.files.as_slice()),
            (&["gcp".to_owned()][..], &["/x".to_owned()][..])
        );
        assert_eq!(stands(&root, "disk", &Wanted::default()), "");
        assert_eq!(stands(&root, "disk", &named), PENDING);
        assert_eq!(stands(&root, "install", &named), "");
        take(&root, None, vec![]).unwrap();
        assert_eq!(stands(&root, "disk", &named), OVER);
    }

    /// k3OS's precedence: metadata over the system's and local configuration, user data over that, config.d over all.
    #[test]
    fn what_is_said_is_read_where_k3os_read_it() {
        let root = scratch("metadata-take");
        root.write(
            "/k3os/system/config.yaml",
            "hostname: system\nssh_authorized_keys: [ssh-rsa AAAAB3 system]\n",
            0o600,
        )
        .unwrap();
        assert!(take(&root, Some(said("cloud")), vec![]).unwrap());
        assert!(!take(&root, Some(said("cloud")), vec![]).unwrap(), "nothing new");
        let (sources, unread) = crate::sources::look(&root, &crate::sources::Identity::default());
        assert!(unread.is_empty());
        let config = load(&order(sources)).config;
        assert_eq!(config.hostname.as_deref(), Some("cloud"));
        assert_eq!(config.ssh_authorized_keys, ["ssh-rsa AAAAB3 cloud"]);
        assert_eq!(config.skerry.k3s_args, ["agent"]);
        // A name that is no configuration (all clouds but two) is weaker than any.
        let weak = Said {
            hostname_counts: false,
            user_data: None,
            ..said("weak")
        };
        assert!(take(&root, Some(weak), vec![]).unwrap());
        let config = load(&crate::sources::look(&root, &crate::sources::Identity::default()).0).config;
        assert_eq!((config.hostname.as_deref(), config.skerry.k3s_args.len()), (Some("system"), 0));
        assert_eq!(weak_hostname(&root).as_deref(), Some("weak"));
    }

    /// A machine that was told to be a worker does not become a server because a metadata server is away.
    #[test]
    fn what_was_said_stays_where_nobody_answers() {
        let root = scratch("metadata-kept");
        assert!(!take(&root, None, vec!["aws: no answer".into()]).unwrap());
        take(&root, Some(said("cloud")), vec![]).unwrap();
        std::fs::remove_dir_all(root.at("/run")).unwrap();
        assert!(take(&root, None, vec!["aws: no answer".into()]).unwrap());
        assert_eq!(root.text("/run/config/local_hostname").unwrap(), "cloud\n");
        let report: Report = serde_json::from_str(&root.text(DONE).unwrap()).unwrap();
        assert!(report.is_copy && report.source.as_deref() == Some("aws") && report.why.len() == 1);
    }
}
