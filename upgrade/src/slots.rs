//! What lies in the two slots, and what the boot state says of them.

use crate::running::Running;
use crate::trial::System;
use anyhow::{Context, Result};
use serde::Serialize;
use skerry_installer::layout::Part;
use skerry_slots::pair::Pair;
use skerry_slots::state::Slot;
use skerry_sys::block::Device;
use skerry_sys::module::{self, Index};
use skerry_sys::mount::{self, MountFlags};
use skerry_sys::verity::{self, RootHash};
use skerry_sys::{Error, file};
use std::path::Path;

/// `vfat` and the tables it needs for names (mount(8)).
const DRIVERS: [&str; 3] = ["vfat", "nls_cp437", "nls_ascii"];
const OPTIONS: &str = "umask=077,codepage=437,iocharset=ascii";
/// The longest `slot.cfg`, in bytes.
const LONGEST: usize = 64 << 10;

/// What a slot is to the boot state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It has proven itself.
    Good,
    /// It is tried at the next restart, or now.
    OnTrial,
    /// It was tried and left, or given up.
    Failed,
    /// It holds a system that is not on trial.
    Spare,
    /// It holds no system.
    Empty,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Good => "good",
            Self::OnTrial => "on trial",
            Self::Failed => "failed",
            Self::Spare => "spare",
            Self::Empty => "empty",
        })
    }
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// `a` or `b`.
    pub slot: &'static str,
    /// This system was started from it.
    pub is_running: bool,
    /// What it is to the boot state.
    pub state: Standing,
    /// How many boots it has left, while it is on trial.
    pub tries: Option<u8>,
    /// The version that its boot partition names.
    pub version: Option<String>,
    /// The root hash that its boot partition names.
    pub root_hash: Option<String>,
    /// Its kernel, initramfs and root are there and fit each other; without this it cannot be tried.
    pub is_whole: bool,
    /// Why it is not whole.
    pub why: Option<String>,
}

impl Seen {
    /// As a trial's record names it.
    pub fn system(&self) -> System {
        System {
            slot: self.slot.to_owned(),
            version: self.version.clone().unwrap_or_default(),
            root_hash: self.root_hash.clone().unwrap_or_default(),
        }
    }
}

/// Looks at both.
pub fn look(running: &Running, pair: &Pair) -> Result<[Seen; 2]> {
    let [a, b] = Slot::ALL;
    Ok([seen(running, pair, a)?, seen(running, pair, b)?])
}

fn seen(running: &Running, pair: &Pair, slot: Slot) -> Result<Seen> {
    let (boot, root) = match slot {
        Slot::A => (Part::BootA, Part::RootA),
        Slot::B => (Part::BootB, Part::RootB),
    };
    let says = read(running.partition(boot)?, slot);
    let whole = says
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|says| check(says, running.partition(root)));
    let is_empty = matches!(says, Err(Missing::Empty));
    let says = says.ok();
    let state = pair.read().state;
    let is_candidate = state.candidate() == Some(slot);
    Ok(Seen {
        slot: slot.name(),
        is_running: running.said.slot == slot,
        state: match state.trial {
            _ if state.good == slot => Standing::Good,
            Some(tries) if is_candidate && tries.get() == 0 && running.said.slot != slot => Standing::Failed,
            Some(_) if is_candidate => Standing::OnTrial,
            _ if is_empty => Standing::Empty,
            _ => Standing::Spare,
        },
        tries: state.trial.filter(|_| is_candidate).map(skerry_slots::state::Tries::get),
        version: says.as_ref().map(|s| s.version.clone()),
        root_hash: says.as_ref().map(|s| s.root_hash.clone()),
        is_whole: whole.is_ok(),
        why: whole.err().map(|why| why.to_string()),
    })
}

/// What `slot.cfg` says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Says {
    version: String,
    root_hash: String,
    hash_offset: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Missing {
    Empty,
    Damaged(String),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing was written to it"),
            Self::Damaged(why) => f.write_str(why),
        }
    }
}

impl From<Error> for Missing {
    fn from(why: Error) -> Self {
        Self::Damaged(why.to_string())
    }
}

fn parse(text: &str) -> Option<Says> {
    let version = text.lines().next()?.strip_prefix("# Skerry ")?.trim().to_owned();
    let word = |key: &str| text.split_whitespace().find_map(|w| w.strip_prefix(key));
    Some(Says {
        version,
        root_hash: word("skerry.roothash=")?.to_owned(),
        hash_offset: word("skerry.hashoff=")?.parse().ok()?,
    })
}

fn read(boot: &Device, slot: Slot) -> Result<Says, Missing> {
    let mut sector = [0; 512];
    let readable = std::fs::File::open(&boot.path).and_then(|f| std::os::unix::fs::FileExt::read_exact_at(&f, &mut sector, 0));
    if let Err(why) = readable {
        return Err(Missing::Damaged(format!("reading {}: {why}", boot.path.display())));
    }
    if sector.iter().all(|b| *b == 0) {
        return Err(Missing::Empty);
    }
    if let Ok(index) = Index::of_running_kernel() {
        for driver in DRIVERS {
            // It may be built in; if not, the mount says what is missing.
            let _ = module::load(&index, driver, "");
        }
    }
    let at = format!("/run/skerry/slot-{slot}-{}", std::process::id());
    let at = Path::new(&at);
    file::make_dir(at, 0o700)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let said = mount::mount(&boot.path, at, "vfat", flags, OPTIONS)
        .map_err(Missing::from)
        .and_then(|()| {
            let said = files(at);
            mount::unmount_lazy(at)?;
            said
        });
    // Left behind it costs nothing.
    let _ = std::fs::remove_dir(at);
    said
}

fn files(at: &Path) -> Result<Says, Missing> {
    for name in ["vmlinuz", "initrd.img"] {
        let length = std::fs::metadata(at.join(name)).map_or(0, |m| m.len());
        if length == 0 {
            return Err(Missing::Damaged(format!("its {name} is not there")));
        }
    }
    let text = file::read_text(at.join("slot.cfg"), LONGEST)?;
    parse(&text).ok_or_else(|| Missing::Damaged("its slot.cfg names no version and root hash".to_owned()))
}

/// The top of the tree must end in the hash; every further block is checked by the kernel when it is read.
fn check(says: &Says, root: Result<&Device>) -> Result<(), Missing> {
    let root = root.map_err(|why| Missing::Damaged(format!("{why:#}")))?;
    let hash = RootHash::parse(&says.root_hash).ok_or_else(|| Missing::Damaged("its slot.cfg names no root hash".to_owned()))?;
    verity::check(&root.path, says.hash_offset, hash)?;
    Ok(())
}

/// The slot of that name.
pub fn named(text: &str) -> Result<Slot> {
    Slot::parse(text).with_context(|| format!("reading the slot {text:?}: it is a or b"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slot_cfg_says() {
        let text = "# Skerry 1.2.3\nif linux $sd/vmlinuz console=tty0 skerry.roothash=abcd skerry.hashoff=4096 $skerry_args; then\n";
        let says = parse(text).unwrap();
        assert_eq!(
            (says.version.as_str(), says.root_hash.as_str(), says.hash_offset),
            ("1.2.3", "abcd", 4096)
        );
        for text in [
            "",
            "# Skerry 1\n",
            "x\nskerry.roothash=a skerry.hashoff=1",
            "# Skerry 1\nskerry.roothash=a skerry.hashoff=x",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
