//! Sources: what an address means. Pure.

use std::path::PathBuf;

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file on this machine.
    File(PathBuf),
    /// A server.
    Http(String),
}

/// Reads an address: `http(s)://…`, `file:///…`, or `github:USER` and `gitlab:USER` for that user's public SSH keys.
pub fn parse(address: &str) -> Result<Source, String> {
    let (scheme, rest) = address.split_once(':').unwrap_or((address, ""));
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https"
            if rest
                .strip_prefix("//")
                .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) =>
        {
            Ok(Source::Http(address.to_owned()))
        }
        "file" => match rest.strip_prefix("//") {
            Some(path) if path.starts_with('/') => Ok(Source::File(path.into())),
            _ => Err(format!(
                "{address:?}: a file's address has three slashes, such as file:///etc/hosts"
            )),
        },
        "github" => keys("https://github.com", rest).ok_or_else(|| format!("{address:?}: {rest:?} is not a name of a GitHub user")),
        "gitlab" => keys("https://gitlab.com", rest).ok_or_else(|| format!("{address:?}: {rest:?} is not a name of a GitLab user")),
        _ => Err(format!(
            "{address:?}: not an address; write http://…, https://…, file:///…, github:USER or gitlab:USER"
        )),
    }
}

/// The address of a user's keys. Names hold nothing that could lead elsewhere on the server.
fn keys(server: &str, user: &str) -> Option<Source> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let valid = (1..=255).contains(&user.len()) && user.chars().all(plain) && !user.starts_with('.');
    valid.then(|| Source::Http(format!("{server}/{user}.keys")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_and_what_they_mean() {
        let http = |text: &str| Ok(Source::Http(text.into()));
        assert_eq!(parse("github:ibuildthecloud"), http("https://github.com/ibuildthecloud.keys"));
        assert_eq!(parse("gitlab:some.one_else"), http("https://gitlab.com/some.one_else.keys"));
        assert_eq!(parse("HTTPS://example.com/x"), http("HTTPS://example.com/x"));
        assert_eq!(parse("file:///etc/hosts"), Ok(Source::File("/etc/hosts".into())));
        for wrong in [
            "",
            "github:",
            "github:../x",
            "github:a/b",
            "gitlab:.x",
            "file://etc/hosts",
            "http://",
            "http:///x",
            "ftp://x/",
            "http:x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_short_form_never_leaves_its_server(user in "\\PC{0,20}") {
            if let Ok(Source::Http(url)) = parse(&format!("github:{user}")) {
                prop_assert_eq!(url, format!("https://github.com/{user}.keys"));
                prop_assert!(!user.contains(['/', '?', '#', '@', '%']));
            }
        }
    }
}
