//! The lock file `images/lock.json`: every package, module and crate that goes into an image, with version and digest.
//!
//! `taken` says when Debian's part was last renewed on purpose (`images lock`); it is part of the cache's keys, so a new
//! lock file means fresh packages, and an unchanged one means none are looked for.

use crate::debian::Package;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Where it lies in the checkout.
pub const PATH: &str = "images/lock.json";

/// The lock file as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// When Debian's part was renewed, in seconds since 1970; empty where there is no lock file.
    pub taken: String,
    /// Debian packages of root and kernel.
    pub debian: Vec<Package>,
    /// In the checkout: those that come in the place of the cloud kernel in a release with the full one.
    pub full: Vec<Package>,
    /// Go modules: name, version, digest.
    pub go: Vec<[String; 3]>,
    /// Crates: name, version, digest.
    pub crates: Vec<[String; 3]>,
}

impl Lock {
    /// Reads the checkout's lock file; none is an empty one.
    pub fn read(checkout: &Path) -> Result<Self> {
        match fs::read_to_string(checkout.join(PATH)) {
            Ok(text) => Self::parse(&text).with_context(|| format!("reading {PATH}")),
            Err(_) => Ok(Self::default()),
        }
    }

    /// Reads the lock file that lies beside a release.
    pub fn read_from(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("reading {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let rows = |field: &str| -> Vec<Vec<String>> {
            let words = |row: &Value| {
                row.as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|word| word.as_str().map(str::to_owned))
                    .collect()
            };
            value
                .get(field)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(words)
                .collect()
        };
        let package = |row: Vec<String>| {
            let [name, version, architecture, sha256] = <[String; 4]>::try_from(row).ok()?;
            Some(Package {
                name,
                version,
                architecture,
                sha256,
            })
        };
        Ok(Self {
            taken: value.get("taken").and_then(Value::as_str).unwrap_or_default().to_owned(),
            debian: rows("debian").into_iter().filter_map(package).collect(),
            full: rows("full").into_iter().filter_map(package).collect(),
            go: rows("go").into_iter().filter_map(|row| row.try_into().ok()).collect(),
            crates: rows("crates").into_iter().filter_map(|row| row.try_into().ok()).collect(),
        })
    }

    /// The file's text: a row a line, so that a change reads well.
    pub fn text(&self) -> String {
        let packages = |list: &[Package]| -> Vec<String> {
            list.iter()
                .map(|p| json!([&p.name, &p.version, &p.architecture, &p.sha256]).to_string())
                .collect()
        };
        let plain = |rows: &[[String; 3]]| rows.iter().map(|row| json!(row).to_string()).collect();
        let mut text = format!("{{\n  \"taken\": {}", json!(self.taken));
        let sections: [(&str, Vec<String>); 4] = [
            ("debian", packages(&self.debian)),
            ("full", packages(&self.full)),
            ("go", plain(&self.go)),
            ("crates", plain(&self.crates)),
        ];
        for (name, rows) in sections.into_iter().filter(|(name, rows)| *name != "full" || !rows.is_empty()) {
            let _ = write!(text, ",\n  \"{name}\": [\n    {}\n  ]", rows.join(",\n    "));
        }
        text + "\n}\n"
    }

    /// What a release with the full kernel is recorded to be made of.
    #[must_use]
    pub fn of_full(&self) -> Self {
        let of_both = self.debian.iter().filter(|package| !package.name.starts_with("linux-image-"));
        Self {
            debian: of_both.chain(&self.full).cloned().collect(),
            full: vec![],
            ..self.clone()
        }
    }

    /// How another lock's packages differ: `name old → new`, for people.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let versions =
            |lock: &Self| -> BTreeMap<String, String> { lock.debian.iter().map(|p| (p.name.clone(), p.version.clone())).collect() };
        let (old, new) = (versions(self), versions(now));
        let mut changes: Vec<String> = new
            .iter()
            .filter(|(name, version)| old.get(*name) != Some(version))
            .map(|(name, version)| format!("{name} {} → {version}", old.get(name).map_or("(new)", String::as_str)))
            .collect();
        changes.extend(
            old.keys()
                .filter(|name| !new.contains_key(*name))
                .map(|name| format!("{name} (gone)")),
        );
        changes
    }
}

/// The crates of a `Cargo.lock` that come from a registry.
pub fn crates(text: &str) -> Vec<[String; 3]> {
    let of = |block: &str, field: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    text.split("[[package]]")
        .filter_map(|block| Some([of(block, "name")?, of(block, "version")?, of(block, "checksum")?]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(version: &str) -> Lock {
        let package = Package {
            name: "bash".into(),
            version: version.into(),
            architecture: "amd64".into(),
            sha256: "00".into(),
        };
        Lock {
            taken: "1790000000".into(),
            debian: vec![package],
            full: vec![],
            go: vec![["a.b/c".into(), "v1".into(), "h1:x".into()]],
            crates: vec![["nom".into(), "8.0.0".into(), "ff".into()]],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let lock = lock("5.2");
        assert_eq!(Lock::parse(&lock.text()).unwrap(), lock);
        assert!(
            lock.text().contains("\n    [\"bash\",\"5.2\",\"amd64\",\"00\"]\n"),
            "{}",
            lock.text()
        );
    }

    #[test]
    fn the_full_kernel_comes_in_the_place_of_the_other() {
        let named = |name: &str| Package {
            name: name.into(),
            ..lock("1").debian.remove(0)
        };
        let mut recorded = lock("1");
        recorded.debian.push(named("linux-image-cloud-amd64"));
        assert!(!recorded.text().contains("full"));
        recorded.full = vec![named("linux-image-amd64"), named("firmware-realtek")];
        assert_eq!(Lock::parse(&recorded.text()).unwrap(), recorded);
        let together: Vec<String> = recorded.of_full().debian.into_iter().map(|package| package.name).collect();
        assert_eq!(together, ["bash", "linux-image-amd64", "firmware-realtek"]);
        assert!(recorded.of_full().full.is_empty());
    }

    #[test]
    fn changes_are_named() {
        assert_eq!(lock("5.2").changes(&lock("5.3")), ["bash 5.2 → 5.3"]);
        assert!(lock("5.2").changes(&lock("5.2")).is_empty());
        assert_eq!(Lock::default().changes(&lock("5.2")), ["bash (new) → 5.2"]);
        assert_eq!(lock("5.2").changes(&Lock::default()), ["bash (gone)"]);
    }

    #[test]
    fn crates_of_a_cargo_lock() {
        let text = "version = 4\n\n[[package]]\nname = \"nom\"\nversion = \"8.0.0\"\nchecksum = \"ff\"\n\n[[package]]\nname = \"skerry-sys\"\nversion = \"0.1.0\"\n";
        assert_eq!(crates(text), [["nom", "8.0.0", "ff"].map(str::to_owned)]);
    }

    #[test]
    fn the_checkouts_lock_file_is_readable() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let lock = Lock::read(checkout).unwrap();
        if checkout.join(PATH).exists() {
            assert!(lock.debian.len() > 50 && lock.go.len() > 100 && lock.crates.len() > 20);
        }
    }
}
