//! What a release is made of, for those who ask every supplier: an SBOM as SPDX 2.3 in JSON
//! (<https://spdx.github.io/spdx-spec/v2.3/>). Made of the lock that was recorded while building, and of nothing else, so that the same
//! release has the same text.

use crate::debian::{Package, SUITE};
use crate::digest;
use crate::lock::Lock;
use crate::release::Release;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Its name in the folder.
pub const NAME: &str = "sbom.spdx.json";

/// A thing that went in.
struct Part {
    /// `debian`, `go`, `cargo`.
    kind: &'static str,
    name: String,
    version: String,
    /// A package URL: <https://github.com/package-url/purl-spec>.
    purl: String,
    sha256: Option<String>,
    comment: Option<String>,
}

/// The text. `loader`: the packages that the boot loader was made of, which do not lie in the root.
pub fn text(release: &Release, lock: &Lock, loader: &[Package]) -> String {
    let parts = parts(lock, loader);
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-Skerry",
        "name": "Skerry",
        "versionInfo": release.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "Apache-2.0",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    })];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Skerry")];
    for part in &parts {
        let id = part.id();
        relations.push(relation("SPDXRef-Skerry", "CONTAINS", &id));
        packages.push(part.package(&id));
    }
    let content = digest::of(format!("{}{}", release.inside(), lock.text()).as_bytes());
    let value = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("Skerry {}", release.version),
        "documentNamespace": format!("https://skerry.io/spdx/{}/{content}", release.version),
        "creationInfo": {
            "created": utc(release.built),
            "creators": [format!("Tool: skerry-images-{}", env!("CARGO_PKG_VERSION"))],
        },
        "documentDescribes": ["SPDXRef-Skerry"],
        "packages": packages,
        "relationships": relations,
    });
    format!("{value:#}\n")
}

fn parts(lock: &Lock, loader: &[Package]) -> Vec<Part> {
    let debian = lock.debian.iter().chain(loader).map(|p| Part {
        kind: "debian",
        name: p.name.clone(),
        version: p.version.clone(),
        purl: format!(
            "pkg:deb/debian/{}@{}?arch={}&distro={SUITE}",
            escaped(&p.name),
            escaped(&p.version),
            escaped(&p.architecture)
        ),
        sha256: Some(p.sha256.clone()).filter(|s| !s.is_empty()),
        comment: None,
    });
    let go = lock.go.iter().map(|[name, version, sum]| Part {
        kind: "go",
        name: name.clone(),
        version: version.clone(),
        purl: format!(
            "pkg:golang/{}@{}",
            name.split('/').map(escaped).collect::<Vec<_>>().join("/"),
            escaped(version)
        ),
        sha256: None,
        // A digest of a list of digests, so it is none of SPDX's kinds.
        comment: Some(format!("go.sum: {sum}")),
    });
    let crates = lock.crates.iter().map(|[name, version, sha256]| Part {
        kind: "cargo",
        name: name.clone(),
        version: version.clone(),
        purl: format!("pkg:cargo/{}@{}", escaped(name), escaped(version)),
        sha256: Some(sha256.clone()),
        comment: None,
    });
    let mut parts: Vec<Part> = debian.chain(go).chain(crates).collect();
    parts.sort_by(|a, b| (a.kind, &a.name, &a.version).cmp(&(b.kind, &b.name, &b.version)));
    parts.dedup_by(|a, b| a.purl == b.purl);
    parts
}

impl Part {
    /// Letters, digits, `.` and `-` only; what is replaced is told apart by a digest.
    fn id(&self) -> String {
        let allowed = |c: char| {
            if c.is_ascii_alphanumeric() || c == '.' || c == '-' {
                c
            } else {
                '-'
            }
        };
        let name: String = format!("{}-{}-{}", self.kind, self.name, self.version)
            .chars()
            .map(allowed)
            .collect();
        let tail: String = digest::of(self.purl.as_bytes()).chars().take(8).collect();
        format!("SPDXRef-{name}-{tail}")
    }

    fn package(&self, id: &str) -> Value {
        let mut package = json!({
            "SPDXID": id,
            "name": self.name,
            "versionInfo": self.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": self.purl,
            }],
        });
        if let Some(fields) = package.as_object_mut() {
            if let Some(sha256) = &self.sha256 {
                fields.insert("checksums".into(), json!([{ "algorithm": "SHA256", "checksumValue": sha256 }]));
            }
            if let Some(comment) = &self.comment {
                fields.insert("comment".into(), json!(comment));
            }
        }
        package
    }
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// Percent-encoded as a package URL wants it.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `2026-11-21T16:52:00Z`, from seconds since 1970, by the days of the Gregorian calendar's 400 years.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    // Counted from 1 March of year 0, so that the leap day is a year's last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (date, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn release() -> Release {
        Release {
            version: "0.1.0".into(),
            built: 1_795_279_914,
            kernel: "6.12".into(),
            kubernetes: "v1.36.3".into(),
            coredns: "v1.15.0".into(),
        }
    }

    #[test]
    fn every_locked_thing_is_in_it_once() {
        let lock = Lock::read(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()).unwrap();
        let made = text(&release(), &lock, &[]);
        assert_eq!(made, text(&release(), &lock, &[]), "the same text each time");
        let value: Value = serde_json::from_str(&made).unwrap();
        let packages = value["packages"].as_array().unwrap();
        let ids: BTreeSet<&str> = packages.iter().map(|p| p["SPDXID"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), packages.len(), "an id is used twice");
        assert!(ids.iter().all(|id| {
            id.strip_prefix("SPDXRef-")
                .unwrap()
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
        }));
        let of = |kind: &str| {
            packages
                .iter()
                .filter(|p| {
                    p["externalRefs"][0]["referenceLocator"]
                        .as_str()
                        .is_some_and(|l| l.starts_with(kind))
                })
                .count()
        };
        assert_eq!(of("pkg:deb/debian/"), lock.debian.len());
        assert!(of("pkg:golang/") > 100 && of("pkg:cargo/") > 20);
        assert_eq!(value["relationships"].as_array().unwrap().len(), packages.len());
        assert_eq!(value["creationInfo"]["created"], "2026-11-21T16:51:54Z");
    }

    #[test]
    fn package_urls_are_escaped() {
        assert_eq!(escaped("1:2.41-5+deb13u1"), "1%3A2.41-5%2Bdeb13u1");
    }

    #[test]
    fn dates() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), date);
        }
    }
}
