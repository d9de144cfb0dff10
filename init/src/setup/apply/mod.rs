//! `setup apply network|boot|runtime`: the settings, step by step. A step that fails is named, and the rest goes on.

mod accounts;
mod certificates;
mod environment;
mod identity;
mod iscsi;
mod issue;
mod kernel;
pub mod logins;
mod password;
mod sshd;
mod swap;
mod time;
mod users;
mod write_files;

pub use issue::write as write_issue;
pub use users::has_login;

use crate::facts::Facts;
use crate::root::Root;
use crate::said::said;
use anyhow::{Context, Result, bail};
use skerry_config::types::Config;
use std::path::Path;

/// Where `setup plan` leaves the configuration; root's alone, since it holds the secrets.
pub const CONFIG: &str = "/run/skerry/config.json";

/// What every step works from.
pub struct Settings {
    /// Where `/` is.
    pub root: Root,
    /// What the owner asked for.
    pub config: Config,
    /// What is known of the machine.
    pub facts: Facts,
}

impl Settings {
    /// Reads what `setup plan` decided on.
    pub fn read(root: Root) -> Result<Self> {
        let config = read_config(&root)?;
        let facts = Facts::read(&root)?;
        Ok(Self { root, config, facts })
    }
}

/// The configuration that this boot runs with.
pub fn read_config(root: &Root) -> Result<Config> {
    let bytes = skerry_sys::file::read_bounded(root.at(CONFIG), 64 << 20)?;
    serde_json::from_slice(&bytes).with_context(|| format!("reading {CONFIG}: run `setup plan` first"))
}

/// When the steps run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// What the network is set up with, beside [`Self::Boot`], which does it again and says what did not work.
    Network,
    /// Before a login.
    Boot,
    /// With the network, before Kubernetes.
    Runtime,
}

/// What one step could not do; empty if it did all.
pub type Failures = Vec<anyhow::Error>;

type Step = (&'static str, fn(&Settings) -> Failures);

const NETWORK: &[Step] = &[
    ("hostname", identity::set_hostname),
    ("modules", kernel::owners_modules),
    ("sysctls", kernel::sysctls),
];

const BOOT: &[Step] = &[
    ("clock", time::floor),
    ("modules", kernel::modules),
    ("memory", kernel::memory),
    ("sysctls", kernel::sysctls),
    ("hostname", identity::hostname),
    ("machine-id", identity::machine_id),
    ("iSCSI initiator", iscsi::initiator),
    ("ca_certs", certificates::apply),
    ("directories", time::directories),
    ("swap", swap::apply),
    ("users", users::apply),
    ("sshd", sshd::apply),
    ("ssh_authorized_keys", logins::apply),
    ("ntp_servers", time::servers),
    ("environment", environment::apply),
    ("issue", issue::apply),
    ("write_files", write_files::apply),
];

/// k3OS's runtime phase does these once more: `boot_cmd` may have brought what was missing.
const RUNTIME: &[Step] = &[
    ("modules", kernel::modules),
    ("sysctls", kernel::sysctls),
    ("ca_certs", certificates::apply),
    ("users", users::apply),
    ("ssh_authorized_keys", logins::apply),
    ("environment", environment::apply),
    ("write_files", write_files::apply),
];

/// `setup apply PHASE`.
pub fn run(args: &[String]) -> Result<()> {
    let phase = match args {
        [word] if word == "network" => Phase::Network,
        [word] if word == "boot" => Phase::Boot,
        [word] if word == "runtime" => Phase::Runtime,
        _ => bail!("reading the arguments: expected `setup apply network`, `setup apply boot` or `setup apply runtime`"),
    };
    // All of it is made again at every boot; what is new on data (the homes, who the machine is) is flushed once it has a network.
    let root = Root::system().written_soon();
    let settings = match Settings::read(root.clone()) {
        // Not even a plan was made: a machine to log in to, at its console, is made all the same.
        Err(why) if phase == Phase::Boot => {
            eprintln!("{}; this boot has no configuration", said(&why));
            Settings {
                config: bare(),
                facts: Facts::bare(&root),
                root,
            }
        }
        other => other?,
    };
    let done = perform(&settings, phase);
    if phase == Phase::Runtime {
        skerry_sys::file::flush_file_system(Path::new(skerry_overlay::STATE))?;
    }
    done
}

fn bare() -> Config {
    let mut config = Config::default();
    config.skerry.distribution = skerry_config::types::Distribution::None.into();
    config
}

/// Takes every step of a phase.
pub fn perform(settings: &Settings, phase: Phase) -> Result<()> {
    let steps = match phase {
        Phase::Network => NETWORK,
        Phase::Boot => BOOT,
        Phase::Runtime => RUNTIME,
    };
    let mut failed = vec![];
    for (name, step) in steps {
        let failures = step(settings);
        for failure in &failures {
            eprintln!("{name}: {}", said(failure));
        }
        if !failures.is_empty() {
            failed.push(*name);
        }
    }
    // What the network step could not do (a parameter of a module that comes later) is done again, and told then.
    if failed.is_empty() || phase == Phase::Network {
        return Ok(());
    }
    bail!(
        "applying the settings: {} not wholly done, the rest is (`skerry logs apply-{}` says more)",
        failed.join(", "),
        phase.word()
    )
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Boot => "boot",
            Self::Runtime => "runtime",
        }
    }
}

/// A step of which one thing can fail.
fn one(result: Result<()>) -> Failures {
    result.err().into_iter().collect()
}
