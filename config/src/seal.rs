//! Takes the secrets out of a `config.yaml` that anybody may read, and puts them back: each one's text is replaced by `"sealed:ID"`.
//!
//! The texts go to a place that only the machine can read. Comments, order and everything else of the file stay as the owner wrote
//! them; a secret that is typed over a marker counts as written.

use crate::{Source, SourceKind, document, load};
use std::collections::BTreeMap;

const MARK: &str = "sealed:";
/// Digits of an ID.
pub const ID_DIGITS: usize = 16;

/// Secrets by their IDs.
pub type Secrets = BTreeMap<String, String>;

/// A text without its secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The text.
    pub text: String,
    /// What was taken out of it.
    pub secrets: Secrets,
}

/// Takes the secrets out. `id` gives a new ID of [`ID_DIGITS`] hexadecimal digits at each call (random: it must say nothing of the
/// secret). The error says what stands against it; the result was proven to give the same configuration.
pub fn seal(text: &str, mut id: impl FnMut() -> String) -> Result<Sealed, String> {
    let before = read(text);
    let scalars = document::scalars(text)?;
    let mut secrets = Secrets::new();
    let mut cuts = BTreeMap::new();
    for entry in before.explain.iter().filter(|e| e.secret) {
        let Some(secret) = entry.value.as_str().filter(|s| !s.is_empty() && !is_marker(s)) else {
            continue;
        };
        let place = (entry.origin.line, entry.origin.column);
        let Some(range) = scalars.get(&place) else {
            return Err(format!(
                "{}:{}: {}: write the text itself here, not an alias",
                place.0, place.1, entry.path
            ));
        };
        let id = id();
        cuts.insert(range.start, (range.clone(), id.clone()));
        secrets.insert(id, secret.to_owned());
    }
    let mut sealed = text.to_owned();
    for (range, id) in cuts.into_values().rev() {
        if text.get(range.clone()).is_none() {
            return Err("the places of the secrets could not be found".to_owned());
        }
        sealed.replace_range(range, &format!("\"{MARK}{id}\""));
    }
    let left = secrets.values().filter(|s| s.len() >= 6).find_map(|s| line_of(&sealed, s));
    if let Some(line) = left {
        return Err(format!(
            "a secret also stands elsewhere, in line {line} (a comment, or a file to write): take it away there"
        ));
    }
    // What was sealed before stays so.
    let mut known = secrets.clone();
    known.extend(markers(text).into_iter().map(|id| (id.to_owned(), format!("{MARK}{id}"))));
    let (again, unknown) = unseal(&sealed, &known);
    if !unknown.is_empty() || read(&again).config != before.config {
        return Err("the file is written in a way in which its secrets cannot be replaced".to_owned());
    }
    Ok(Sealed { text: sealed, secrets })
}

/// Puts the secrets back. Markers whose secret is not there become nothing (`~`); the lines in which they stand are returned.
pub fn unseal(text: &str, secrets: &Secrets) -> (String, Vec<usize>) {
    let (mut out, mut rest, mut unknown) = (String::with_capacity(text.len()), text, vec![]);
    let open = format!("\"{MARK}");
    while let Some((before, after)) = rest.split_once(open.as_str()) {
        out.push_str(before);
        let id = after.get(..ID_DIGITS).filter(|id| is_id(id));
        let Some((id, after)) = id.and_then(|id| Some((id, after.get(ID_DIGITS..)?.strip_prefix('"')?))) else {
            out.push_str(&open);
            rest = after;
            continue;
        };
        rest = after;
        // JSON's text is a YAML scalar between double quotes.
        if let Some(secret) = secrets.get(id).and_then(|s| serde_json::to_string(s).ok()) {
            out.push_str(&secret);
        } else {
            unknown.push(out.matches('\n').count() + 1);
            out.push('~');
        }
    }
    out.push_str(rest);
    (out, unknown)
}

/// How many markers a text holds.
pub fn markers(text: &str) -> Vec<&str> {
    let open = format!("\"{MARK}");
    let after = text.split(open.as_str()).skip(1);
    after.filter_map(|rest| rest.get(..ID_DIGITS)).filter(|id| is_id(id)).collect()
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_marker(text: &str) -> bool {
    text.strip_prefix(MARK).is_some_and(is_id)
}

fn line_of(text: &str, part: &str) -> Option<usize> {
    let (before, _) = text.split_once(part)?;
    Some(before.matches('\n').count() + 1)
}

fn read(text: &str) -> crate::Loaded {
    load(&[Source::new(SourceKind::Esp, "config.yaml", text)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids() -> impl FnMut() -> String {
        let mut next = 0u64;
        move || {
            next += 1;
            format!("{next:016x}")
        }
    }

    const TEXT: &str = "\
# é kept
hostname: edge
skerry:
  token: \"tok-en: #1\"   # kept too
  password: >-  # and this
    line one
    line two
  # below a block
  k3s_args: [server, --agent-token, hush-hush, --token=other-one]
  environment: {API_TOKEN: abcdef, HTTP_PROXY: http://p}
  wifi:
  - {name: net, passphrase: 'it''s me'}
users:
- name: ann
  password: plain-words
network:
  wifis: {w: {access-points: {net: {password: 12345678}}}}
";

    #[test]
    fn every_secret_goes_and_comes_back() {
        let sealed = seal(TEXT, ids()).unwrap();
        for secret in [
            "tok-en",
            "line one",
            "line two",
            "hush-hush",
            "other-one",
            "abcdef",
            "s me",
            "plain-words",
            "12345678",
        ] {
            assert!(!sealed.text.contains(secret), "{secret}: {}", sealed.text);
        }
        assert_eq!(sealed.secrets.len(), 8);
        for kept in [
            "# é kept\n",
            "   # kept too\n",
            "HTTP_PROXY: http://p",
            "name: ann",
            "hostname: edge",
        ] {
            assert!(sealed.text.contains(kept), "{kept}: {}", sealed.text);
        }
        let (again, unknown) = unseal(&sealed.text, &sealed.secrets);
        assert!(unknown.is_empty());
        assert_eq!(read(&again).config, read(TEXT).config);
        // A second time there is nothing to do.
        assert_eq!(
            seal(&sealed.text, ids()).unwrap(),
            Sealed {
                text: sealed.text.clone(),
                secrets: Secrets::new()
            }
        );
        assert_eq!(markers(&sealed.text).len(), 8);
    }

    #[test]
    fn what_is_not_known_is_nothing_rather_than_a_password() {
        let text = "a: b\nskerry:\n  password: \"sealed:00000000000000ff\"\n";
        let (out, unknown) = unseal(text, &Secrets::new());
        assert_eq!((out.as_str(), unknown), ("a: b\nskerry:\n  password: ~\n", vec![3]));
        assert_eq!(read(&out).config.skerry.password, None);
        for text in [
            "\"sealed:",
            "\"sealed:0\"",
            "\"sealed:00000000000000fg\"",
            "\"sealed:00000000000000ffé",
            "sealed:00000000000000ff",
        ] {
            assert_eq!(unseal(text, &Secrets::new()), (text.to_owned(), vec![]));
        }
    }

    #[test]
    fn what_cannot_be_sealed_is_refused() {
        for (text, why) in [
            ("skerry:\n  token: &t hush-hush\n  password: *t\n", "an alias"),
            ("skerry:\n  token: hush-hush # was hush-hush\n", "line 2"),
            ("skerry: {token: [\n", ""),
        ] {
            let said = seal(text, ids()).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert_eq!(seal("hostname: a\n", ids()).unwrap().text, "hostname: a\n");
    }

    proptest! {
        #[test]
        fn any_secret_survives(secret in "[ -~é\\n\"'#:]{1,30}", after in "[ -~]{0,10}") {
            let quoted = serde_json::to_string(&secret).unwrap();
            let text = format!("skerry:\n  token: {quoted} # {after}\nhostname: a\n");
            if let Ok(sealed) = seal(&text, ids()) {
                let (again, unknown) = unseal(&sealed.text, &sealed.secrets);
                prop_assert!(unknown.is_empty());
                prop_assert_eq!(read(&again).config, read(&text).config);
            }
        }

        #[test]
        fn any_text_is_read(text in "[a-c:\" \\n0sealed]{0,80}") {
            let _ = seal(&text, ids());
            let _ = unseal(&text, &Secrets::new());
        }
    }
}
