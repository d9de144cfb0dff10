//! What `setup plan` finds: every place that may hold configuration, in the order of their weight, and which of them count.

use crate::facts::{self, Facts, Release};
use crate::folder::{Folder, Place as Where};
use crate::media::{self, Label, State};
use crate::root::Root;
use crate::said::said;
use crate::sources::{self, Identity};
use crate::store::LAST_GOOD;
use crate::{coldplug, esp, medium, seal};
use skerry_config::place::Place;
use skerry_config::{Source, SourceKind, Variables, load, order};
use std::time::{Duration, Instant};

/// What `skerry config sources` shows.
pub const SOURCES: &str = "/run/skerry/sources.json";
/// How long a machine without a name waits for the interface that gives it one.
const NIC_PATIENCE: Duration = Duration::from_secs(3);

/// What is there.
#[derive(Debug)]
pub struct Looked {
    /// About the machine.
    pub facts: Facts,
    /// What counts, in order.
    pub sources: Vec<Source>,
    /// What could not be read, for the console.
    pub unread: Vec<String>,
    /// Every place that was looked at.
    pub places: Vec<Place>,
    /// What stands for `${mac}` and its like; the host name comes later.
    pub variables: Variables,
}

/// What lies outside of data, read as it is.
#[derive(Debug, Default)]
struct Outside {
    esp: Option<Folder>,
    /// Of the medium that was booted.
    medium: Vec<Source>,
    seen: Vec<media::Seen>,
    verdict: Option<Result<&'static str, &'static str>>,
    unread: Vec<String>,
}

/// Looks. After a planning that hung or broke, what it may have hung on (a damaged ESP, a stick) is not touched again.
pub fn look(root: &Root, is_forced: bool) -> Looked {
    let mode = crate::mode::of(root);
    let is_touched = root.is_system() && !is_forced;
    let outside = if is_touched {
        look_outside(root, &mode)
    } else {
        Outside::default()
    };
    let folders = Label::ALL.map(|label| held(root, label, &outside));
    let pinned = root.word(facts::NODE_NAME);
    let asks = outside
        .esp
        .iter()
        .chain(folders.iter().flatten().map(|h| &h.folder))
        .any(Folder::asks_for_mac);
    let macs = macs(root, pinned.is_none() || asks || sources::asks_for_mac(root));
    let identity = Identity::read(root, macs);
    let gathered = gather(root, &identity, &outside, folders);
    let cmdline = root.text("/proc/cmdline").unwrap_or_default();
    let active = root.text("/sys/class/tty/console/active").unwrap_or_default();
    let facts = Facts {
        node_name: pinned.unwrap_or_default(),
        mac: identity.macs.first().cloned(),
        mode,
        consoles: facts::consoles(&cmdline, &active, |name| root.at(format!("/dev/{name}")).exists()),
        guest_port: facts::has_guest_port(root),
        no_radios: facts::has_no_radios(root),
        release: Release::read(root),
        ..Facts::default()
    };
    Looked {
        variables: Variables {
            mac: facts.mac.clone(),
            serial: identity.serial,
            uuid: identity.uuid,
            hostname: None,
        },
        facts,
        sources: gathered.0,
        places: gathered.1,
        unread: outside.unread.into_iter().chain(gathered.2).collect(),
    }
}

fn look_outside(root: &Root, mode: &str) -> Outside {
    let mut outside = Outside::default();
    (outside.medium, outside.unread) = medium::look(root);
    match esp::read() {
        Ok(folder) => outside.esp = folder,
        Err(why) => outside.unread.push(format!("{}; this boot goes on without it", said(&why))),
    }
    let state = State {
        is_first: !sources::any_on_data(root) && !root.at(format!("{LAST_GOOD}/version")).exists(),
        is_degraded: mode == "degraded",
        is_trusted: false,
    };
    let counts = media::may_count(state).is_ok();
    let mut say = |looked: anyhow::Result<Vec<media::Seen>>| {
        looked.unwrap_or_else(|why| {
            outside.unread.push(format!("{}; this boot goes on without it", said(&why)));
            vec![]
        })
    };
    let mut seen = say(media::look(counts, counts));
    let mut verdict = media::may_count(state);
    if !counts && !seen.is_empty() {
        let is_trusted = is_trusted(root, outside.esp.as_ref());
        verdict = media::may_count(State { is_trusted, ..state });
        if verdict.is_ok() {
            seen = match media::look(false, true) {
                Ok(seen) => seen,
                Err(why) => {
                    outside.unread.push(format!("{}; this boot goes on without it", said(&why)));
                    vec![]
                }
            };
        }
    }
    for seen in &seen {
        let wrong = media::ambiguous(seen).filter(|_| verdict.is_ok());
        outside.unread.extend(wrong.or_else(|| seen.error.clone()));
        if let Err(why) = verdict {
            outside
                .unread
                .push(format!("{} on {} is ignored: {why}", seen.label.text(), seen.devices.join(", ")));
        }
    }
    outside.seen = seen;
    outside.verdict = Some(verdict);
    outside
}

/// Whether a source that is no stick (but may be the copy of one that counted) says that sticks count.
fn is_trusted(root: &Root, esp: Option<&Folder>) -> bool {
    let nobody = Identity::default();
    let outside = Outside {
        esp: esp.cloned(),
        ..Outside::default()
    };
    let folders = Label::ALL.map(|label| held(root, label, &outside));
    let skerry = load(&gather(root, &nobody, &outside, folders).0).config.skerry;
    // k3OS's `data_sources: [cdrom]` asks for it in so many words.
    skerry.trust_media || skerry_config::cloud::names_volume(&skerry.data_sources)
}

/// What counts of a label: what was read now, or the copy of an earlier boot.
struct Held {
    folder: Folder,
    is_new: bool,
}

fn held(root: &Root, label: Label, outside: &Outside) -> Option<Held> {
    let is_read = |s: &media::Seen| s.label == label && s.devices.len() == 1 && s.error.is_none();
    let counts = outside.verdict.is_some_and(|v| v.is_ok()) && outside.seen.iter().any(is_read);
    let new = if counts { media::taken(root, label) } else { None };
    let is_new = new.is_some();
    let folder = new.or_else(|| media::copied(root, label))?;
    Some(Held { folder, is_new })
}

type Gathered = (Vec<Source>, Vec<Place>, Vec<String>);

/// All sources that count, in order; every place; and what could not be read.
fn gather(root: &Root, identity: &Identity, outside: &Outside, held: [Option<Held>; 3]) -> Gathered {
    let (mut found, mut places, mut unread) = (vec![], vec![], vec![]);
    match &outside.esp {
        Some(folder) => {
            unread.extend(
                folder
                    .unread
                    .iter()
                    .map(|(path, why)| format!("reading {}{path}: {why}; this boot goes on without it", esp::NAME)),
            );
            let (sources, unknown) = seal::opened(root, folder.sources(Where::Esp, identity, esp::NAME));
            unread.extend(unknown);
            if sources.is_empty() {
                places.push(Place::absent(
                    format!("{}config.yaml", esp::NAME),
                    Some(SourceKind::Esp),
                    "put it there with any computer",
                ));
            }
            found.extend(sources);
        }
        None => places.push(Place::absent(
            format!("{}config.yaml", esp::NAME),
            Some(SourceKind::Esp),
            "no disk of ours was booted, or its first partition cannot be read",
        )),
    }
    let mut notes: Vec<(String, String)> = vec![];
    for (label, held) in Label::ALL.into_iter().zip(held) {
        places.extend(volume(label, outside, held.is_some()));
        let Some(held) = held else { continue };
        let mine = held.folder.of(label.place(), identity);
        let mut prefix = format!("{}/", label.copy());
        if held.is_new {
            // Its copy is what counts from now on; a disk that takes no more still boots with it.
            if let Err(why) = media::keep(root, label, &mine) {
                unread.push(format!(
                    "keeping a copy of {}: {}; it counts in this boot only",
                    label.text(),
                    said(&why)
                ));
                prefix = format!("{}:/", label.text());
            }
        }
        notes.push((prefix.clone(), format!("taken from {}", label.text())));
        found.extend(mine.sources(label.place(), identity, &prefix));
    }
    found.extend(outside.medium.iter().cloned());
    let (on_data, more) = sources::look(root, identity);
    found.extend(on_data);
    unread.extend(more);
    let found = order(found);
    for source in &found {
        let why = notes
            .iter()
            .find(|(prefix, _)| source.name.starts_with(prefix.as_str()))
            .map(|(_, why)| why.clone());
        places.push(Place::counted(&source.name, source.kind, why.unwrap_or_default()));
    }
    for kind in SourceKind::ALL {
        let Some(path) = kind.path() else { continue };
        if !found.iter().any(|s| s.name.starts_with(path)) {
            places.push(Place::absent(path, Some(kind), none_for(kind, identity)));
        }
    }
    // In the order of weight; what is about a volume as a whole stands where the volume's sources would.
    places.sort_by_key(|p| p.kind.unwrap_or(SourceKind::SeedMetaData));
    (found, places, unread)
}

fn none_for(kind: SourceKind, identity: &Identity) -> String {
    let is = |what: &str, id: Option<&str>| match id {
        Some(id) => format!("this machine's {what} is {id}"),
        None => format!("this machine tells no {what}"),
    };
    match kind {
        SourceKind::ByMac if !identity.macs.is_empty() => is("hardware address", Some(&identity.macs.join(", "))),
        SourceKind::ByMac => is("hardware address", None),
        SourceKind::BySerial => is("serial number", identity.serial.as_deref()),
        SourceKind::ByUuid => is("UUID", identity.uuid.as_deref()),
        _ => String::new(),
    }
}

/// What is said of a label's volumes.
fn volume(label: Label, outside: &Outside, has_copy: bool) -> Option<Place> {
    let copy = if has_copy { "; what was taken earlier stays in effect" } else { "" };
    let Some(seen) = outside.seen.iter().find(|s| s.label == label) else {
        // Where there is no OpenStack nobody misses it.
        return (!has_copy && label != Label::ConfigDrive)
            .then(|| Place::absent(format!("volume {}", label.text()), None, "no volume has this label"));
    };
    let name = format!("volume {} ({})", label.text(), seen.devices.join(", "));
    let why = match (outside.verdict, media::ambiguous(seen), &seen.error) {
        (Some(Ok(_)), Some(why), _) => why,
        (Some(Ok(_)), None, Some(why)) => why.clone(),
        (Some(Ok(why)), None, None) => {
            return Some(Place {
                name,
                kind: None,
                found: true,
                counts: true,
                why: format!("{why}; copied to {}", label.copy()),
            });
        }
        (Some(Err(why)), ..) => why.to_owned(),
        (None, ..) => return None,
    };
    Some(Place::ignored(name, None, format!("{why}{copy}")))
}

/// The places, once it is known what could be made of them.
pub fn judged(mut places: Vec<Place>, refused: &[String], is_last_good: bool) -> Vec<Place> {
    for place in places.iter_mut().filter(|p| p.counts) {
        if is_last_good {
            place.counts = false;
            "this boot runs with the last good configuration".clone_into(&mut place.why);
        } else if refused.contains(&place.name) {
            place.counts = false;
            "it could not be read: `skerry config check` says why".clone_into(&mut place.why);
        }
    }
    if is_last_good {
        let kind = SourceKind::Local;
        places.push(Place::counted(
            LAST_GOOD,
            kind,
            "the sources of the last boot that was good, as they were then",
        ));
    }
    places
}

/// The addresses of the machine; the first names it. Its driver is loaded for that; a machine that has its name already does not wait for it.
fn macs(root: &Root, needed: bool) -> Vec<String> {
    let look = || facts::macs(&facts::nics(root));
    let found = look();
    if !found.is_empty() || !root.is_system() {
        return found;
    }
    if let Err(why) = coldplug::network() {
        eprintln!("{}", said(&why));
    }
    let start = Instant::now();
    while needed && look().is_empty() && start.elapsed() < NIC_PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    look()
}
