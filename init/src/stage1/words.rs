//! What the kernel's command line says to stage 1. Pure.

use super::medium::Medium;
use super::root::{Place, Request, Trouble};
use skerry_sys::verity::{OnCorruption, RootHash};
use std::time::Duration;

/// The words stage 1 reads; of a repeated one the last counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words {
    root: Option<String>,
    medium: Option<String>,
    boot: Option<String>,
    slot: Option<String>,
    hash: Option<String>,
    hash_offset: Option<String>,
    why: Option<String>,
    /// How long a failure stays on the screen before the restart; never, with `skerry.panic=0`.
    pub restart_after: Option<Duration>,
}

/// Time to read the message, and to take a photo of it.
const RESTART_AFTER: Duration = Duration::from_secs(15);
/// The same for a system on trial.
pub const RESTART_TRIAL_AFTER: Duration = Duration::from_secs(4);

impl Words {
    /// Reads a command line. Nothing in it is an error here.
    pub fn parse(cmdline: &str) -> Self {
        let (mut words, mut asked) = (Self::default(), None);
        for (key, value) in split(cmdline) {
            match key.as_str() {
                "skerry.root" => words.root = value,
                "skerry.medium" => words.medium = value,
                "skerry.boot" => words.boot = value,
                "skerry.slot" => words.slot = value,
                "skerry.roothash" => words.hash = value,
                "skerry.hashoff" => words.hash_offset = value,
                "skerry.why" => words.why = value,
                "skerry.panic" => match value.as_deref().map(str::parse) {
                    Some(Ok(0)) => asked = Some(None),
                    Some(Ok(seconds)) => asked = Some(Some(Duration::from_secs(seconds))),
                    _ => {}
                },
                _ => {}
            }
        }
        // Nobody is there to read why a candidate does not start, and each of its boots ends in this.
        let usual = if words.is_trial() { RESTART_TRIAL_AFTER } else { RESTART_AFTER };
        words.restart_after = asked.unwrap_or(Some(usual));
        words
    }

    /// Why GRUB started this slot, in its words.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    fn is_trial(&self) -> bool {
        self.why
            .as_ref()
            .is_some_and(|why| why.starts_with("try") || why.starts_with("trial"))
    }

    /// The root that is asked for.
    pub fn root(&self) -> Result<Request, Trouble> {
        // A root that a person named counts before what GRUB says.
        let place = match (&self.root, &self.medium, &self.boot) {
            (Some(root), _, _) => Place::parse(root)?,
            (None, Some(medium), _) => Place::Medium(Medium::parse(medium)?),
            (None, None, Some(boot)) => Place::of_slot(boot, self.slot.as_deref())?,
            (None, None, None) => {
                return Err(Trouble::new(
                    "reading the kernel's command line: there is no skerry.root=, no skerry.medium= and no skerry.boot=",
                )
                .and("try: skerry.root=/dev/vda, or skerry.root=PARTLABEL=root-a, or skerry.medium=LABEL=SKERRY"));
            }
        };
        let hash = self.hash.as_deref().ok_or_else(|| {
            Trouble::new("reading the kernel's command line: there is no skerry.roothash=")
                .and("a root is never mounted unverified; the release's manifest.json names its hash")
        })?;
        let hash =
            RootHash::parse(hash).ok_or_else(|| Trouble::new(format!("reading skerry.roothash={hash}: expected 64 hexadecimal digits")))?;
        let hash_offset = self
            .hash_offset
            .as_deref()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Trouble::new("reading skerry.hashoff=: expected the hash tree's place in bytes; manifest.json names it"))?;
        Ok(Request {
            place,
            hash,
            hash_offset,
            on_corruption: self.on_corruption(),
        })
    }

    /// A system on trial must go back when it is damaged. A proven one delivers no bad data, and what still works goes on.
    fn on_corruption(&self) -> OnCorruption {
        if self.is_trial() {
            OnCorruption::Panic
        } else {
            OnCorruption::FailRead
        }
    }
}

/// Words at blanks; `"a=b c"` and `a="b c"` are one word; after a lone `--` the words are for programs and not read.
fn split(cmdline: &str) -> Vec<(String, Option<String>)> {
    let mut words = vec![];
    let (mut word, mut is_quoted) = (String::new(), false);
    for c in cmdline.chars().chain([' ']) {
        match c {
            '"' => is_quoted = !is_quoted,
            c if c.is_whitespace() && !is_quoted => {
                if word == "--" {
                    break;
                }
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    let pair = |word: String| match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (word, None),
    };
    words.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::super::root::Slot;
    use super::*;

    fn hash() -> String {
        "ab".repeat(32)
    }

    #[test]
    fn the_last_word_counts_and_quotes_hold_it_together() {
        let line = format!(
            "quiet skerry.root=/dev/sda \"skerry.root=PARTLABEL=root a\" skerry.roothash={} skerry.hashoff=\"4096\" -- skerry.root=/dev/x\n",
            hash()
        );
        let request = Words::parse(&line).root().unwrap();
        assert_eq!(request.place, Place::PartitionLabel("root a".into()));
        assert_eq!((request.hash_offset, request.on_corruption), (4096, OnCorruption::FailRead));
    }

    #[test]
    fn grub_names_the_slot_and_a_person_the_root() {
        let end = format!("skerry.roothash={} skerry.hashoff=4096", hash());
        let place = |words: &str| Words::parse(&format!("{words} {end}")).root().unwrap().place;
        let slot = place("gpt skerry.boot=PARTUUID=3f0a-1 skerry.slot=b skerry.why=good");
        assert_eq!(
            slot,
            Place::Slot {
                boot: "3f0a-1".into(),
                slot: Slot::B
            }
        );
        let named = place("skerry.root=/dev/sda skerry.boot=PARTUUID=3f0a-1 skerry.slot=b");
        assert_eq!(named, Place::Path("/dev/sda".into()));
        let medium = Place::Medium(Medium::Label("SKERRY".into()));
        assert_eq!(place("skerry.medium=LABEL=SKERRY skerry.mode=live"), medium);
        assert_eq!(
            place("skerry.root=/dev/sda skerry.medium=LABEL=SKERRY"),
            named,
            "a person's word counts first"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let hash = hash();
        for (line, said) in [
            (String::new(), "there is no skerry.root="),
            ("skerry.root=/dev/vda".to_owned(), "there is no skerry.roothash="),
            (
                "skerry.root=/dev/vda skerry.roothash=12".to_owned(),
                "expected 64 hexadecimal digits",
            ),
            (format!("skerry.root=/dev/vda skerry.roothash={hash}"), "reading skerry.hashoff="),
            (
                format!("skerry.root=/dev/vda skerry.roothash={hash} skerry.hashoff=-1"),
                "reading skerry.hashoff=",
            ),
            (format!("skerry.root=vda skerry.roothash={hash} skerry.hashoff=1"), "expected /dev/"),
            (
                format!("skerry.medium=SKERRY skerry.roothash={hash} skerry.hashoff=1"),
                "expected LABEL=NAME, UUID=DATE or /dev/NAME",
            ),
        ] {
            let trouble = Words::parse(&line).root().unwrap_err();
            assert!(trouble.lines().next().unwrap().contains(said), "{line}: {trouble:?}");
        }
    }

    #[test]
    fn a_trial_panics_and_a_restart_can_be_held() {
        for (why, expected) in [
            ("skerry.why=good", OnCorruption::FailRead),
            ("skerry.why=fallback-from-b", OnCorruption::FailRead),
            ("skerry.why=try-left-2", OnCorruption::Panic),
            ("skerry.why=trial", OnCorruption::Panic),
            ("skerry.why", OnCorruption::FailRead),
        ] {
            assert_eq!(Words::parse(why).on_corruption(), expected, "{why}");
        }
        for (line, expected) in [
            ("", Some(RESTART_AFTER)),
            ("skerry.panic=3", Some(Duration::from_secs(3))),
            ("skerry.panic=0", None),
            ("skerry.panic=x", Some(RESTART_AFTER)),
            ("skerry.why=try-left-2", Some(RESTART_TRIAL_AFTER)),
            ("skerry.why=try-left-2 skerry.panic=0", None),
        ] {
            assert_eq!(Words::parse(line).restart_after, expected, "{line}");
        }
    }
}
