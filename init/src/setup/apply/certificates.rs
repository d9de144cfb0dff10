//! The owner's certificates, beside Debian's.

use super::{Failures, Settings};

/// What everything that speaks TLS reads.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What comes after this line is the owner's.
const MARK: &str = "# ca_certs of config.yaml\n";

/// Adds them.
pub fn apply(s: &Settings) -> Failures {
    let base = s.root.text(BUNDLE).unwrap_or_default();
    let (text, failures) = bundle(&base, &s.config.ca_certs);
    let written = s.root.write_changed(BUNDLE, &text, 0o644).err();
    failures.into_iter().chain(written).collect()
}

fn bundle(base: &str, certificates: &[String]) -> (String, Failures) {
    let debian = base.split_once(MARK).map_or(base, |(before, _)| before);
    let mut text = debian.to_owned();
    let mut failures = vec![];
    if !certificates.is_empty() {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(MARK);
    }
    for (n, pem) in certificates.iter().enumerate() {
        let pem = pem.trim();
        if pem.contains("-----BEGIN CERTIFICATE-----") && pem.ends_with("-----END CERTIFICATE-----") && !pem.contains("PRIVATE KEY") {
            text.extend([pem, "\n"]);
        } else {
            failures.push(anyhow::anyhow!(
                "adding ca_certs[{n}]: it is no certificate in PEM form (BEGIN CERTIFICATE … END CERTIFICATE)"
            ));
        }
    }
    (text, failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owners_come_after_debians_and_can_go_again() {
        let ours = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n".to_owned();
        let debian = ours.replace("BBBB", "AAAA");
        let (with, failures) = bundle(&debian, &[ours.clone(), "rubbish".into()]);
        assert_eq!((with.as_str(), failures.len()), (format!("{debian}{MARK}{ours}").as_str(), 1));
        assert_eq!(bundle(&with, &[ours]).0, with);
        assert_eq!(bundle(&with, &[]).0, debian);
    }
}
