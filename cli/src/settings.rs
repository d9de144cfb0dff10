//! The `config.yaml` that goes onto a disk: where it comes from, whether it can be read, and without what is for the installer only.

use anyhow::{Context, Result, bail};
use skerry_config::{Config, Install, Severity, Source, SourceKind, load};
use skerry_sys::file::read_bounded;
use std::path::Path;
use std::process::Command;

/// No configuration is longer.
pub const LONGEST: usize = 1 << 20;
/// The only program that speaks HTTP.
const FETCH: &str = "/usr/lib/skerry/fetch";

/// Reads a file, and says on standard error what is wrong with it.
pub fn of_file(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_bounded(path, LONGEST)?;
    let (text, said) = checked(&path.display().to_string(), &bytes)?;
    for line in said {
        eprintln!("{line}");
    }
    Ok(text)
}

/// Fetches one: `http(s)://…`, `file:///…`, or a path. What is wrong with it comes beside it.
pub fn of_address(address: &str) -> Result<(Vec<u8>, Vec<String>)> {
    let path = address.strip_prefix("file://").unwrap_or(address);
    let bytes = if path.starts_with('/') {
        read_bounded(path, LONGEST)?
    } else {
        fetch(address, 5)?
    };
    checked(address, &bytes)
}

/// Gets what is at an address: by the program that is on every Skerry machine.
pub fn fetch(address: &str, tries: u32) -> Result<Vec<u8>> {
    let doing = || format!("fetching {address}");
    if !Path::new(FETCH).exists() {
        bail!("fetching {address}: only a Skerry machine does that / try: fetch it yourself, and name the file");
    }
    let most = LONGEST.to_string();
    let out = Command::new(FETCH)
        .args(["get", address, "--max", &most, "--tries", &tries.to_string()])
        .output()
        .with_context(doing)?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        // The program names the address already.
        bail!(if said.contains("fetching") {
            said
        } else {
            format!("{}: {said}", doing())
        });
    }
    Ok(out.stdout)
}

/// The text for the installed machine, and what is wrong with it. Refused is only what is no configuration at all: the machine drops
/// single keys by itself, and says so.
pub fn checked(name: &str, bytes: &[u8]) -> Result<(Vec<u8>, Vec<String>)> {
    let loaded = load(&[Source::new(SourceKind::System, name, bytes)]);
    let said: Vec<String> = loaded
        .problems
        .iter()
        .filter(|p| p.severity != Severity::Note)
        .map(ToString::to_string)
        .collect();
    if !loaded.refused.is_empty() {
        bail!("reading {name}: it is no configuration\n{}", said.join("\n"));
    }
    if loaded.config.skerry.install == Install::default() {
        return Ok((bytes.to_vec(), said));
    }
    Ok((text(&loaded.config)?, said))
}

/// A configuration as the text for the installed machine: without what is for the installer.
pub fn text(config: &Config) -> Result<Vec<u8>> {
    let mut config = config.clone();
    config.skerry.install = Install::default();
    let text = config.to_yaml().context("writing the configuration")?;
    Ok(format!("#cloud-config\n{text}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_stays_as_it_is_unless_it_holds_what_is_for_the_installer() {
        let plain = b"# mine\nhostname: rock\n";
        assert_eq!(checked("c", plain).unwrap(), (plain.to_vec(), vec![]));
        let (text, _) = checked(
            "c",
            b"hostname: rock\nk3os: {token: abc, install: {device: /dev/sda, silent: true}}\n",
        )
        .unwrap();
        let again = load(&[Source::new(SourceKind::System, "c", text.clone())]);
        assert_eq!(again.config.skerry.install, Install::default());
        assert_eq!(
            (again.config.hostname.as_deref(), again.config.skerry.token.map(|t| t.0).as_deref()),
            (Some("rock"), Some("abc"))
        );
        assert!(!String::from_utf8_lossy(&text).contains("install"));
    }

    #[test]
    fn what_is_no_configuration_is_refused_and_single_keys_are_named() {
        assert!(checked("c", b"<html>log in</html>").is_err());
        assert!(checked("c", b"[[[").is_err());
        let (_, said) = checked("c", b"hostnam: rock\n").unwrap();
        assert!(said.iter().any(|line| line.contains("hostname")), "{said:?}");
    }

    #[test]
    fn an_address_that_cannot_be_had_says_so() {
        let said = format!("{:#}", of_address("/nonexistent/config.yaml").unwrap_err());
        assert!(said.contains("/nonexistent/config.yaml"), "{said}");
        let said = format!("{:#}", of_address("http://127.0.0.1:1/c").unwrap_err());
        assert!(said.contains("http://127.0.0.1:1/c"), "{said}");
    }
}
