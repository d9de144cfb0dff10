//! What was asked for: by the words of `skerry install`, or by the section `install` of a configuration. Pure.

use crate::settings;
use anyhow::Result;
use skerry_config::Config;
use skerry_installer::choose::{Purpose, Rule, Wanted};
use std::path::PathBuf;

/// Where the medium that was booted has its release.
pub const MEDIUM: &str = "/run/skerry/medium/skerry";

/// Onto what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Onto {
    /// A disk.
    Disk(Wanted),
    /// A new file, that long in bytes.
    File(PathBuf, u64),
}

/// The `config.yaml` of the installed machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settings {
    /// None: the owner puts one onto the ESP later, or the machine does without.
    None,
    /// What is there: a path or a URL.
    Address(String),
    /// This text.
    Text(Vec<u8>),
    /// That of the k3OS on the disk.
    K3os,
}

/// What the machine does at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It goes on.
    Stay,
    /// It starts again.
    Reboot,
    /// It switches itself off.
    PowerOff,
}

/// An installation that somebody wishes for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Onto what.
    pub onto: Onto,
    /// The release's folder.
    pub from: PathBuf,
    /// The configuration.
    pub settings: Settings,
    /// New, or keeping data.
    pub purpose: Purpose,
    /// A disk with Skerry is left alone by a new installation, whatever else may be erased.
    pub spares_skerry: bool,
    /// What comes then.
    pub end: End,
    /// Each step is told.
    pub is_verbose: bool,
}

/// What a configuration asks for (the keys of k3OS's installer), and what of it means nothing here.
pub fn of_config(config: &Config) -> Result<(Wish, Vec<String>)> {
    let keys = &config.skerry.install;
    let given = |text: &Option<String>| text.as_deref().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
    let mut notes = vec![];
    let mut note = |key: &str, text: &str| notes.push(format!("install.{key}: {text}"));

    let wanted = given(&keys.device)
        .map(|device| Wanted::parse(&device))
        .transpose()?
        // k3OS took the only disk there was; so do we, if it is the only one that is empty.
        .unwrap_or_else(|| Wanted::Rule(Rule::default()));
    let is_path = matches!(wanted, Wanted::Path(_));
    let from = match given(&keys.iso_url) {
        Some(url) if url.starts_with('/') => PathBuf::from(url),
        Some(url) if url.starts_with("file:///") => PathBuf::from(url.trim_start_matches("file://")),
        Some(_) => {
            note("iso_url", "the system comes from the medium that was booted, not from the network");
            PathBuf::from(MEDIUM)
        }
        None => PathBuf::from(MEDIUM),
    };
    if keys.force_efi {
        note("force_efi", "nothing to force: the disk boots by UEFI and by BIOS");
    }
    if let Some(tty) = given(&keys.tty) {
        let name = tty.trim_start_matches("/dev/").split(',').next().unwrap_or_default();
        if !["ttyS0", "tty0", "tty1", "console"].contains(&name) {
            let text = format!("{name} is no console of the installed machine: they are the screen and ttyS0 (115200)");
            note("tty", &text);
        }
    }
    let config_url = given(&keys.config_url);
    if keys.no_format && config_url.is_some() {
        note("config_url", "not read: with no_format the disk keeps its configuration");
    }
    let settings = match config_url {
        _ if keys.no_format => Settings::None,
        Some(url) => Settings::Address(url),
        None => Settings::Text(settings::text(config)?),
    };
    let purpose = if keys.no_format {
        Purpose::Again
    } else {
        Purpose::New {
            // Who names a disk by its path and wants no questions has said that it may be lost, as with k3OS. A rule says that of none.
            erase: is_path && keys.silent,
        }
    };
    let wish = Wish {
        onto: Onto::Disk(wanted),
        from,
        settings,
        purpose,
        // Else a medium that stays in the machine installs again at each start, and takes the data with it.
        spares_skerry: true,
        end: if keys.power_off { End::PowerOff } else { End::Reboot },
        is_verbose: keys.debug,
    };
    Ok((wish, notes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_config::{Source, SourceKind, load};

    fn config(kind: SourceKind, text: &str) -> Config {
        load(&[Source::new(kind, "x", text)]).config
    }

    fn wish(text: &str) -> (Wish, Vec<String>) {
        of_config(&config(
            SourceKind::System,
            &format!("k3os: {{install: {{{text}}}}}\nhostname: rock\n"),
        ))
        .unwrap()
    }

    #[test]
    fn each_key_of_k3os_means_something_or_is_named() {
        let (plain, notes) = wish("");
        assert_eq!(
            (&plain.onto, plain.end, plain.purpose, notes.len()),
            (
                &Onto::Disk(Wanted::Rule(Rule::default())),
                End::Reboot,
                Purpose::New { erase: false },
                0
            )
        );
        assert_eq!(plain.from, PathBuf::from(MEDIUM));
        assert_eq!(
            plain.settings,
            Settings::Text(b"#cloud-config\nhostname: rock\nskerry:\n  distribution: kubernetes\n".to_vec())
        );
        let (wish_, notes) = wish("device: /dev/sda, silent: true, power_off: true, debug: true, config_url: 'http://h/c', tty: ttyS0");
        assert_eq!(
            (wish_.onto, wish_.end, wish_.purpose, wish_.is_verbose, notes.len()),
            (
                Onto::Disk(Wanted::Path("/dev/sda".into())),
                End::PowerOff,
                Purpose::New { erase: true },
                true,
                0
            )
        );
        assert_eq!(wish_.settings, Settings::Address("http://h/c".into()));
        for (text, key) in [
            ("force_efi: true", "install.force_efi: "),
            ("iso_url: 'https://h/x.iso'", "install.iso_url: "),
            ("tty: 'ttyAMA0,9600'", "install.tty: ttyAMA0 "),
            ("no_format: true, config_url: 'http://h/c'", "install.config_url: "),
        ] {
            let (_, notes) = wish(text);
            assert!(notes.len() == 1 && notes[0].starts_with(key), "{text}: {notes:?}");
        }
        assert_eq!(wish("iso_url: /mnt/r").0.from, PathBuf::from("/mnt/r"));
        assert_eq!(wish("iso_url: 'file:///mnt/r'").0.from, PathBuf::from("/mnt/r"));
    }

    /// Nothing that is on a disk is erased but for who names it and wants no question; and never a Skerry.
    #[test]
    fn what_may_be_erased() {
        for (text, erase) in [
            ("device: /dev/sda", false),
            ("device: smallest, silent: true", false),
            ("silent: true", false),
            ("device: /dev/sda, silent: true", true),
        ] {
            let (wish, _) = wish(text);
            assert_eq!((wish.purpose, wish.spares_skerry), (Purpose::New { erase }, true), "{text}");
        }
        let (kept, _) = wish("no_format: true, silent: true, device: /dev/sda");
        assert_eq!((kept.purpose, kept.settings), (Purpose::Again, Settings::None));
    }

    #[test]
    fn the_kernels_command_line_says_the_same() {
        let line = "k3os.mode=install k3os.install.silent=true k3os.install.device=/dev/vda skerry.install.power_off=true";
        let (wish, _) = of_config(&config(SourceKind::Cmdline, line)).unwrap();
        assert_eq!(
            (wish.onto, wish.end, wish.purpose),
            (
                Onto::Disk(Wanted::Path("/dev/vda".into())),
                End::PowerOff,
                Purpose::New { erase: true }
            )
        );
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_an_error() {
        let config = config(SourceKind::System, "k3os: {install: {device: quickest}}");
        assert!(of_config(&config).unwrap_err().to_string().contains("\"quickest\" is not known"));
    }
}
