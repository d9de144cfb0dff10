//! Every state of the questions that answers lead to, walked.

use super::*;
use skerry_config::{Source, SourceKind, load};
use skerry_installer::choose::Transport;
use std::collections::{HashSet, VecDeque};
use std::path::Path;

const GB: u64 = 1_000_000_000;

fn disk(name: &str, holds: Holds) -> Disk {
    Disk {
        name: name.into(),
        path: format!("/dev/{name}").into(),
        links: vec![format!("/dev/disk/by-id/id-{name}").into()],
        bytes: 64 * GB,
        sector_bytes: 512,
        model: "Disk".into(),
        serial: String::new(),
        transport: Transport::Sata,
        is_removable: false,
        is_read_only: false,
        holds,
        is_running: false,
        used_by: vec![],
    }
}

fn facts() -> Facts {
    let mut disks = vec![
        disk("sda", Holds::Nothing),
        disk("sdb", Holds::Skerry),
        disk("sdc", Holds::K3os),
        disk("sdd", Holds::Other("2 partitions".into())),
        disk("sde", Holds::Nothing),
        disk("sdf", Holds::Nothing),
        disk("sdg", Holds::Skerry),
    ];
    disks[4].is_running = true;
    disks[5].bytes = GB;
    // Too small for a new installation, but its data can be kept.
    disks[6].bytes = GB;
    Facts {
        disks,
        needed: 3 * GB,
        file: None,
        base: Config::default(),
        may_login: true,
    }
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb7 me";
const TOKEN: &str = "a-secret-of-sixteen-characters";

/// What is tried at a question: what is right, what is right elsewhere, and what never is.
fn tried(at: Ask) -> Vec<&'static str> {
    let mut tried = vec!["", "<", "99", "sda", "e"];
    tried.extend(match at {
        Ask::Disk => &[
            "1",
            "2",
            "4",
            "/dev/sdb",
            "sdc",
            "sdd",
            "sde",
            "sdf",
            "sdg",
            "/dev/disk/by-id/id-sda",
            "login",
        ][..],
        Ask::Use => &["k", "T", "login"],
        Ask::Role => &["1", "2", "3"],
        Ask::Server => &["https://10.0.0.5:6443", "\u{1}"],
        Ask::Key => &["github:me", KEY],
        Ask::Token | Ask::Password | Ask::Repeat => &[TOKEN],
        Ask::Hostname => &["rock", "two words"],
        Ask::Confirm => &["sdb", "sdc", "sdd", "sdg", "y"],
    });
    tried
}

/// Walks all that answers lead to; `seen` tells states apart by what is asked and answered (of keys, the first one).
fn walk(facts: Facts, mut check: impl FnMut(&Wizard, &str, &Turn)) -> usize {
    let mut seen = HashSet::new();
    let mut todo = VecDeque::from([Wizard::new(facts)]);
    while let Some(wizard) = todo.pop_front() {
        for answer in tried(wizard.at) {
            let mut next = wizard.clone();
            let turn = next.answer(answer);
            check(&wizard, answer, &turn);
            if matches!(turn, Turn::Again(_)) {
                assert_eq!((next.at, &next.answers.disk), (wizard.at, &wizard.answers.disk), "{answer}");
            }
            let key = format!("{:?} {:?}", next.at, next.answers);
            if next.answers.keys.len() < 2 && matches!(turn, Turn::Next(_)) && seen.insert(key) {
                // The past is as long as the way here; its last entries are enough for `<`.
                next.prompt();
                todo.push_back(next);
            }
        }
    }
    seen.len()
}

#[test]
fn every_state_is_safe_and_done_comes_from_the_name_alone() {
    let base = Config::default();
    let mut done = HashSet::new();
    let states = walk(facts(), |wizard, answer, turn| match turn {
        Turn::Done => {
            assert_eq!(wizard.at, Ask::Confirm);
            let disk = wizard.answers.disk.as_ref().unwrap();
            assert_eq!(answer, disk.name);
            assert!(!disk.is_running && disk.name != "sdf", "{disk}");
            let purpose = wizard.answers.purpose;
            let fits = match disk.holds {
                Holds::Nothing => purpose == Use::Empty,
                Holds::Skerry => purpose == Use::Keep || purpose == Use::Erase && disk.bytes > 3 * GB,
                Holds::K3os => matches!(purpose, Use::TakeOver | Use::Erase),
                Holds::Other(_) => purpose == Use::Erase,
            };
            assert!(fits, "{disk}: {purpose:?}");
            let wish = wizard
                .answers
                .wish(&base, Path::new("/r"), None, crate::install::wish::End::Stay)
                .unwrap();
            if let crate::install::wish::Settings::Text(text) = &wish.settings {
                let loaded = load(&[Source::new(SourceKind::System, "made", text.clone())]);
                assert!(loaded.problems.iter().all(|p| !p.drops), "{:?}", loaded.problems);
                assert_eq!(loaded.config.hostname, wizard.answers.hostname);
                assert_eq!(loaded.config.skerry.server_url.is_some(), wizard.answers.role == Role::Joins);
            }
            // What the installer chooses from is what was asked for.
            let crate::install::wish::Onto::Disk(wanted) = &wish.onto else {
                panic!()
            };
            assert!(
                choose(wanted, &facts().disks, facts().needed, wish.purpose).is_ok(),
                "{disk} {:?}",
                wish.purpose
            );
            done.insert((disk.name.clone(), purpose));
        }
        Turn::Login => assert_eq!((wizard.at, answer), (Ask::Disk, "login")),
        Turn::Next(_) | Turn::Again(_) => {}
    });
    assert!(states > 100, "{states}");
    let mut done: Vec<String> = done.into_iter().map(|(name, purpose)| format!("{name} {purpose:?}")).collect();
    done.sort();
    assert_eq!(
        done,
        [
            "sda Empty",
            "sdb Erase",
            "sdb Keep",
            "sdc Erase",
            "sdc TakeOver",
            "sdd Erase",
            "sdg Keep"
        ]
    );
}

#[test]
fn secrets_are_never_shown() {
    walk(facts(), |wizard, _, _| {
        let text = wizard.prompt().text;
        assert!(!text.contains("a-secret-of-sixteen"), "{text}");
    });
}

fn after(facts: Facts, answers: &[&str]) -> Wizard {
    let mut wizard = Wizard::new(facts);
    for answer in answers {
        let turn = wizard.answer(answer);
        assert!(matches!(turn, Turn::Next(_)), "{answer}: {turn:?}");
    }
    wizard
}

#[test]
fn back_goes_back_to_the_beginning() {
    let way = [
        "sdd",
        "e",
        "2",
        "https://s:6443",
        "a-secret-of-sixteen-characters",
        "github:me",
        "",
        "password",
        "password",
        "rock",
    ];
    let mut wizard = after(facts(), &way);
    assert_eq!(wizard.at, Ask::Confirm);
    for _ in way {
        assert_eq!(wizard.answer("<"), Turn::Next(None));
    }
    assert_eq!((wizard.at, &wizard.answers), (Ask::Disk, &Answers::default()));
    assert!(matches!(wizard.answer("<"), Turn::Again(_)));
}

#[test]
fn what_the_configuration_says_is_what_enter_answers() {
    let text = "hostname: rock\nssh_authorized_keys: ['github:me']\n\
        k3os: {server_url: 'https://s:6443', token: a-secret-of-sixteen-characters, password: p, install: {device: /dev/sda}}";
    let base = load(&[Source::new(SourceKind::System, "x", text)]).config;
    let wizard = after(
        Facts {
            base: base.clone(),
            ..facts()
        },
        &["", "", "", "", "", "", ""],
    );
    assert_eq!(wizard.at, Ask::Confirm);
    let mut expected = base.clone();
    expected.skerry.install = skerry_config::Install::default();
    let mut made = wizard.answers.config(&base);
    made.skerry.install = skerry_config::Install::default();
    assert_eq!(made, expected);
    assert_eq!(wizard.word(), "sda");
}

#[test]
fn passwords_must_be_the_same_twice() {
    let mut wizard = after(facts(), &["sda", "1", "", "one"]);
    assert!(matches!(wizard.answer("two"), Turn::Again(_)));
    assert!(matches!(wizard.answer(""), Turn::Again(_)));
    assert_eq!(wizard.answer("<"), Turn::Next(None));
    assert_eq!(wizard.at, Ask::Password);
}

#[test]
fn a_summary_to_read() {
    let way = ["sdd", "e", "2", "https://s:6443", "a-secret-of-sixteen-characters", KEY, "", "", ""];
    let summary = after(facts(), &way).summary();
    assert_eq!(
        summary,
        "
  disk      /dev/sdd (59.6 GiB, sata, Disk)
  LOSES     ALL OF IT: 2 partitions
  role      joins https://s:6443
  SSH       ssh-ed25519 …NTE5AAAAIGb7 me
  password  none
  name      made from its network address
  Wi-Fi     not asked for; later, in config.yaml
"
    );
}
