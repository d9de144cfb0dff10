//! The questions, as a pure machine: an answer in, the next question out. Nothing here reads, prints or writes.
//!
//! ```text
//! Disk ─▶ Use (if it holds something) ─▶ Role ─▶ Server ─▶ Token ─▶ Key… ─▶ Password ─▶ Repeat ─▶ Hostname ─▶ Confirm ─▶ done
//!              keep, take over ──────────────────────────────────────────────────────────────────────▶ Confirm
//! ```
//!
//! `<` goes back one question. Done is reached by the disk's name at Confirm, and by nothing else.

use super::answers::{self, Answers, Role, Use};
use skerry_config::Config;
use skerry_installer::choose::{Disk, Holds, Purpose, Wanted, choose};
use std::fmt::Write as _;

/// What there is.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Every disk.
    pub disks: Vec<Disk>,
    /// How long a disk has to be, in bytes.
    pub needed: u64,
    /// A file that takes the disk's place, and the word that confirms it.
    pub file: Option<String>,
    /// What the machine's configuration says already: the answers that Enter gives.
    pub base: Config,
    /// The words that may end the questions for a login.
    pub may_login: bool,
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ask {
    /// Which disk?
    Disk,
    /// What becomes of what it holds?
    Use,
    /// A new cluster, or one that is there?
    Role,
    /// Its address.
    Server,
    /// Its token.
    Token,
    /// Who may log in by SSH? Asked until there is no more.
    Key,
    /// The consoles' password.
    Password,
    /// The same again.
    Repeat,
    /// Its name.
    Hostname,
    /// All of it shown: begin?
    Confirm,
}

/// What comes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The next question; with something to know first.
    Next(Option<String>),
    /// The same one again, and why.
    Again(String),
    /// All is answered and confirmed.
    Done,
    /// A login instead.
    Login,
}

/// What to print before a line is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The text, ending where the answer begins.
    pub text: String,
    /// What is typed is not shown.
    pub is_hidden: bool,
}

/// Where the questions are.
#[derive(Debug, Clone)]
pub struct Wizard {
    facts: Facts,
    /// What is asked now.
    pub at: Ask,
    /// What was answered.
    pub answers: Answers,
    past: Vec<(Ask, Answers)>,
}

const BACK: &str = "<";

impl Wizard {
    /// Begins.
    pub fn new(facts: Facts) -> Self {
        Self {
            at: if facts.file.is_some() { Ask::Role } else { Ask::Disk },
            answers: Answers::default(),
            facts,
            past: vec![],
        }
    }

    /// What to ask now.
    pub fn prompt(&self) -> Prompt {
        let base = &self.facts.base.skerry;
        let set = |is_set: bool| if is_set { " [as configured]" } else { "" };
        let text = match self.at {
            Ask::Disk => self.disks(),
            Ask::Use => self.uses(),
            Ask::Role => format!(
                "\nWhat is this machine to be?\n  1  the first of a new cluster\n  2  one that joins a cluster\nNumber [{}]: ",
                if base.server_url.is_some() { 2 } else { 1 }
            ),
            Ask::Server => format!("\nThe address of the cluster's server, such as https://10.0.0.5:6443{}: ", {
                let known = base.server_url.as_ref().map(|url| format!(" [{url}]"));
                known.unwrap_or_default()
            }),
            Ask::Token => format!("The cluster's token (it is not shown){}: ", set(base.token.is_some())),
            Ask::Key if self.answers.keys.is_empty() => format!(
                "\nWho may log in by SSH? A key (ssh-ed25519 AAAA… me), or github:NAME, gitlab:NAME; Enter for nobody{}: ",
                set(!self.facts.base.ssh_authorized_keys.is_empty())
            ),
            Ask::Key => "One more key; Enter if that is all: ".to_owned(),
            Ask::Password => format!(
                "\nA password for the consoles (it is not shown); Enter for none{}: ",
                set(base.password.is_some())
            ),
            Ask::Repeat => "The same again: ".to_owned(),
            Ask::Hostname => format!(
                "\nThe machine's name; Enter for {}: ",
                self.facts.base.hostname.as_deref().unwrap_or("one made from its network address")
            ),
            Ask::Confirm => format!(
                "{}\nNothing was written yet, and Ctrl-C is safe. From here on it is written.\nTo begin, write {}; `<` goes back: ",
                self.summary(),
                self.word()
            ),
        };
        Prompt {
            text,
            is_hidden: matches!(self.at, Ask::Token | Ask::Password | Ask::Repeat),
        }
    }

    /// The word that begins it: the disk's name.
    pub fn word(&self) -> String {
        let disk = self.answers.disk.as_ref().map(|d| d.name.clone());
        disk.or_else(|| self.facts.file.clone()).unwrap_or_default()
    }

    /// Takes an answer.
    pub fn answer(&mut self, line: &str) -> Turn {
        let line = line.trim();
        if line == BACK {
            return match self.past.pop() {
                Some((at, answers)) => {
                    (self.at, self.answers) = (at, answers);
                    Turn::Next(None)
                }
                None => Turn::Again("this is the first question".to_owned()),
            };
        }
        let before = (self.at, self.answers.clone());
        match self.take(line) {
            Ok(Step::To(next, note)) => {
                self.past.push(before);
                self.at = next;
                Turn::Next(note)
            }
            Ok(Step::Done) => Turn::Done,
            Ok(Step::Login) => Turn::Login,
            Err(why) => Turn::Again(why),
        }
    }

    fn take(&mut self, line: &str) -> Result<Step, String> {
        let base = &self.facts.base.skerry;
        let mut note = None;
        let next = match self.at {
            Ask::Disk if line == "login" && self.facts.may_login => return Ok(Step::Login),
            Ask::Disk => {
                let disk = self.disk(line)?;
                self.answers.purpose = Use::Empty;
                let is_empty = disk.holds == Holds::Nothing;
                self.answers.disk = Some(disk);
                if is_empty { Ask::Role } else { Ask::Use }
            }
            Ask::Use => {
                self.answers.purpose = self.use_of(line)?;
                if self.answers.purpose == Use::Erase {
                    Ask::Role
                } else {
                    Ask::Confirm
                }
            }
            Ask::Role => {
                let known = if base.server_url.is_some() { "2" } else { "1" };
                self.answers.role = match if line.is_empty() { known } else { line } {
                    "1" => Role::First,
                    "2" => Role::Joins,
                    _ => return Err("write 1 or 2".to_owned()),
                };
                if self.answers.role == Role::Joins { Ask::Server } else { Ask::Key }
            }
            Ask::Server => {
                let server = or(line, base.server_url.as_deref()).ok_or("joining needs the server's address")?;
                note = answers::check_strictly(&["skerry", "server_url"], &server)?;
                self.answers.server = Some(server);
                Ask::Token
            }
            Ask::Token => {
                let token = or(line, base.token.as_ref().map(|t| t.0.as_str()));
                let token = token.ok_or("joining needs the cluster's token; on its server, /var/lib/rancher/k3s/server/token has it")?;
                note = answers::check(&["skerry", "token"], &token)?;
                self.answers.token = Some(token);
                Ask::Key
            }
            Ask::Key if line.is_empty() => {
                if self.answers.keys.is_empty() {
                    self.answers.keys.clone_from(&self.facts.base.ssh_authorized_keys);
                }
                Ask::Password
            }
            Ask::Key => {
                note = answers::check_key(line)?;
                self.answers.keys.push(line.to_owned());
                Ask::Key
            }
            Ask::Password if line.is_empty() => {
                self.answers.password = base.password.as_ref().map(|p| p.0.clone());
                Ask::Hostname
            }
            Ask::Password => {
                note = answers::check(&["skerry", "password"], line)?;
                self.answers.password = Some(line.to_owned());
                Ask::Repeat
            }
            Ask::Repeat if self.answers.password.as_deref() == Some(line) => Ask::Hostname,
            Ask::Repeat => return Err("it is not the same; write it again, or `<` to choose another".to_owned()),
            Ask::Hostname => {
                self.answers.hostname = or(line, self.facts.base.hostname.as_deref());
                if let Some(name) = &self.answers.hostname {
                    note = answers::check(&["hostname"], name)?;
                }
                Ask::Confirm
            }
            Ask::Confirm if line == self.word() => return Ok(Step::Done),
            Ask::Confirm => return Err(format!("nothing was written; write {} to begin, or `<` to go back", self.word())),
        };
        Ok(Step::To(next, note))
    }

    /// Why a disk cannot be taken at all.
    fn obstacle(&self, disk: &Disk) -> Option<String> {
        let may = |purpose| choose(&Wanted::Path(disk.path.clone()), &self.facts.disks, self.facts.needed, purpose);
        let why = may(Purpose::New { erase: true }).err()?;
        if may(Purpose::Again).is_ok() {
            return None;
        }
        match why {
            skerry_installer::choose::Refused::Not { why, .. } => Some(why.to_string()),
            other => Some(other.to_string()),
        }
    }

    fn offered(&self) -> impl Iterator<Item = &Disk> {
        self.facts.disks.iter().filter(|disk| self.obstacle(disk).is_none())
    }

    /// What Enter takes: what the configuration names, or the only one.
    fn usual(&self) -> Option<&Disk> {
        let device = self.facts.base.skerry.install.device.as_deref();
        if let Some(wanted) = device.and_then(|d| Wanted::parse(d).ok()) {
            return choose(&wanted, &self.facts.disks, self.facts.needed, Purpose::New { erase: true }).ok();
        }
        let mut offered = self.offered();
        offered.next().filter(|_| offered.next().is_none())
    }

    fn disk(&self, line: &str) -> Result<Disk, String> {
        if line.is_empty() {
            return self.usual().cloned().ok_or_else(|| "write a disk's number, or its name".to_owned());
        }
        let by_number = line.parse::<usize>().ok().and_then(|n| self.offered().nth(n.checked_sub(1)?));
        let by_name = || {
            self.facts
                .disks
                .iter()
                .find(|d| d.name == line || d.path.as_os_str() == line || d.links.iter().any(|l| l.as_os_str() == line))
        };
        let disk = by_number.or_else(by_name).ok_or_else(|| format!("there is no disk {line:?}"))?;
        match self.obstacle(disk) {
            None => Ok(disk.clone()),
            Some(why) => Err(format!("{disk}: {why}")),
        }
    }

    fn disks(&self) -> String {
        let mut text = "\nOnto which disk?\n".to_owned();
        let holds = |disk: &Disk| match &disk.holds {
            Holds::Nothing => "empty".to_owned(),
            Holds::Skerry => "holds Skerry, whose data can be kept".to_owned(),
            Holds::K3os => "holds k3OS, whose configuration can be taken over".to_owned(),
            Holds::Other(what) => format!("holds {what}"),
        };
        // Writing to a string does not fail.
        for (number, disk) in self.offered().enumerate() {
            let _ = writeln!(text, "  {}  {disk}: {}", number + 1, holds(disk));
        }
        for disk in &self.facts.disks {
            if let Some(why) = self.obstacle(disk) {
                let _ = writeln!(text, "  -  {disk}: {}", why.split(" / try").next().unwrap_or_default());
            }
        }
        if self.offered().next().is_none() {
            text.push_str("There is none that can be taken.\n");
        }
        if self.facts.may_login {
            text.push_str("(`login` gives a login instead.)\n");
        }
        let usual = self.usual().map(|disk| format!(" [{}]", disk.name)).unwrap_or_default();
        text + &format!("Number or name{usual}: ")
    }

    /// What may become of what a disk holds: letter, meaning, words. The first is what Enter does, but for the last kind.
    fn choices(&self) -> Vec<(&'static str, Use, &'static str)> {
        let erase = ("e", Use::Erase, "erase everything on it");
        let fits = self.answers.disk.as_ref().is_some_and(|d| d.bytes >= self.facts.needed);
        let mut choices = match self.answers.disk.as_ref().map(|d| &d.holds) {
            Some(Holds::Skerry) => vec![("k", Use::Keep, "keep its data and its configuration, replace the system")],
            Some(Holds::K3os) => vec![("t", Use::TakeOver, "take over its configuration, erase all else")],
            _ => vec![],
        };
        choices.extend(fits.then_some(erase));
        choices
    }

    fn use_of(&self, line: &str) -> Result<Use, String> {
        let choices = self.choices();
        let usual = choices.first().filter(|(_, what, _)| *what != Use::Erase);
        let found = if line.is_empty() {
            usual
        } else {
            choices.iter().find(|(letter, ..)| *letter == line.to_lowercase())
        };
        let letters: Vec<&str> = choices.iter().map(|(letter, ..)| *letter).collect();
        found
            .map(|(_, what, _)| *what)
            .ok_or_else(|| format!("write {}; `<` chooses another disk", letters.join(" or ")))
    }

    fn uses(&self) -> String {
        let mut text = "\nWhat becomes of what it holds?\n".to_owned();
        for (letter, _, words) in self.choices() {
            let _ = writeln!(text, "  {letter}  {words}");
        }
        let usual = self.choices().first().filter(|(_, what, _)| *what != Use::Erase).map(|c| c.0);
        text + &format!(
            "  <  choose another disk\nLetter{}: ",
            usual.map(|l| format!(" [{l}]")).unwrap_or_default()
        )
    }

    /// What will be done, for people.
    pub fn summary(&self) -> String {
        let mut text = "\n".to_owned();
        let mut row = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<9} {value}");
        };
        match (&self.answers.disk, &self.facts.file) {
            (Some(disk), _) => row("disk", &disk.to_string()),
            (None, Some(file)) => row("file", file),
            (None, None) => {}
        }
        let holds = self.answers.disk.as_ref().map(|d| &d.holds);
        match (self.answers.purpose, holds) {
            (Use::Keep, _) => {
                row("keeps", "its data and its configuration; the system is replaced");
                return text;
            }
            (Use::TakeOver, _) => {
                row("LOSES", "ALL DATA OF THE k3OS ON IT");
                row("config", "that of the k3OS");
                return text;
            }
            (Use::Erase, Some(Holds::Other(what))) => row("LOSES", &format!("ALL OF IT: {what}")),
            (Use::Erase, _) => row("LOSES", "ALL DATA ON IT"),
            (Use::Empty, _) => {}
        }
        match (self.answers.role, &self.answers.server) {
            (Role::Joins, Some(server)) => row("role", &format!("joins {server}")),
            _ => row("role", "first of a new cluster"),
        }
        match self.answers.keys.as_slice() {
            [] => row("SSH", "nobody can log in from outside"),
            keys => keys.iter().for_each(|key| row("SSH", &shortened(key))),
        }
        row(
            "password",
            match &self.answers.password {
                Some(_) => "for the consoles, as written",
                None if self.answers.keys.is_empty() => "none: each start shows a random one on the consoles",
                None => "none",
            },
        );
        row("name", self.answers.hostname.as_deref().unwrap_or("made from its network address"));
        row("Wi-Fi", "not asked for; later, in config.yaml");
        text
    }
}

enum Step {
    To(Ask, Option<String>),
    Done,
    Login,
}

/// What was written; else what is known.
fn or(line: &str, known: Option<&str>) -> Option<String> {
    if line.is_empty() { known } else { Some(line) }
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// A key by its kind, its end and its owner.
fn shortened(key: &str) -> String {
    let words: Vec<&str> = key.split_whitespace().collect();
    match words.as_slice() {
        [kind, body, rest @ ..] if body.len() > 16 => {
            let from = body.char_indices().rev().nth(11).map_or(0, |(at, _)| at);
            format!("{kind} …{} {}", body.get(from..).unwrap_or_default(), rest.join(" "))
        }
        _ => key.to_owned(),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
