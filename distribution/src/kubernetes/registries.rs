//! k3s's `registries.yaml` → containerd's `hosts.toml` files, one a registry.
//!
//! k3s: "Private Registry Configuration" (mirrors, endpoints, rewrites, TLS, authentication). containerd: `docs/hosts.md`. Rewrites are
//! k3s's own change of containerd, and named here as what has no effect.

use super::base64;
use crate::File;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Where k3s has it.
pub const REGISTRIES: &str = "/etc/rancher/k3s/registries.yaml";
/// Where containerd looks.
pub const CERTS_D: &str = "/etc/containerd/certs.d";

/// The files, and what of the text has no effect. They may hold passwords.
pub fn hosts(registries: &Value) -> (Vec<File>, Vec<String>) {
    let (mut files, mut without) = (vec![], vec![]);
    let section = |name: &str| registries.get(name).and_then(Value::as_object);
    for name in registries.as_object().into_iter().flat_map(|m| m.keys()) {
        if name != "mirrors" && name != "configs" {
            without.push(format!("{name:?} is neither mirrors nor configs"));
        }
    }
    let configs = section("configs");
    let of = |host: &str| configs.and_then(|c| c.get(host)).unwrap_or(&Value::Null);
    let mut done = BTreeSet::new();
    for (registry, mirror) in section("mirrors").into_iter().flatten() {
        if !is_name(registry) {
            without.push(format!("mirror {registry:?}: no name of a registry"));
            continue;
        }
        if mirror.get("rewrite").is_some_and(|r| !r.is_null()) {
            without.push(format!(
                "mirror {registry}: rewrite has no effect, upstream containerd has none; use a mirror with the same names"
            ));
        }
        let mut text = String::new();
        if registry != "*" {
            let _ = writeln!(text, "server = {:?}", own(registry)); // a string takes everything
        }
        for endpoint in list(mirror.get("endpoint")) {
            match Endpoint::parse(&endpoint) {
                Some(e) => text.push_str(&host(&e.url, of(&e.host), &mut without)),
                None => without.push(format!("mirror {registry}: {endpoint:?} is no address; write https://HOST:PORT")),
            }
        }
        if registry != "*" {
            text.push_str(&host(&own(registry), of(registry), &mut without));
        }
        done.insert(registry.clone());
        files.push(file(registry, &text));
    }
    for (registry, config) in configs.into_iter().flatten().filter(|(r, _)| !done.contains(*r)) {
        if is_name(registry) && registry != "*" {
            let server = own(registry);
            let text = format!("server = {server:?}\n{}", host(&server, config, &mut without));
            files.push(file(registry, &text));
        } else {
            without.push(format!("configs of {registry:?}: no name of a registry"));
        }
    }
    (files, without)
}

fn file(registry: &str, text: &str) -> File {
    let dir = if registry == "*" { "_default" } else { registry };
    let first = format!("# Made of {REGISTRIES} at each boot.\n");
    File::new(format!("{CERTS_D}/{dir}/hosts.toml"), 0o600, first + text)
}

/// Where a registry itself is; Docker's name is not its address.
fn own(registry: &str) -> String {
    match registry {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        other => format!("https://{other}"),
    }
}

fn host(url: &str, config: &Value, without: &mut Vec<String>) -> String {
    let mut text = format!("\n[host.{url:?}]\n  capabilities = [\"pull\", \"resolve\"]\n");
    let tls = |key: &str| {
        config
            .pointer(&format!("/tls/{key}"))
            .and_then(Value::as_str)
            .filter(|v| !v.is_empty())
    };
    if let Some(ca) = tls("ca_file") {
        let _ = writeln!(text, "  ca = {ca:?}"); // a string takes everything
    }
    match (tls("cert_file"), tls("key_file")) {
        (Some(cert), Some(key)) => _ = writeln!(text, "  client = [[{cert:?}, {key:?}]]"),
        (Some(cert), None) => _ = writeln!(text, "  client = {cert:?}"),
        _ => {}
    }
    if config.pointer("/tls/insecure_skip_verify") == Some(&Value::Bool(true)) {
        text.push_str("  skip_verify = true\n");
    }
    let auth = |key: &str| match config.pointer(&format!("/auth/{key}")) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let basic = match (auth("username"), auth("password"), auth("auth")) {
        (Some(user), Some(password), _) => Some(base64::encode(format!("{user}:{password}").as_bytes())),
        (_, _, Some(encoded)) => Some(encoded),
        _ => None,
    };
    if let Some(basic) = basic {
        let _ = writeln!(text, "  [host.{url:?}.header]\n    Authorization = {:?}", format!("Basic {basic}")); // a string takes everything
    } else if auth("identity_token").is_some() {
        without.push(format!(
            "configs: the identity token for {url} has no effect; write username and password"
        ));
    }
    text
}

struct Endpoint {
    url: String,
    host: String,
}

impl Endpoint {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("https", text.trim()));
        let host = rest.split('/').next()?;
        let known = matches!(scheme, "http" | "https") && is_name(host) && host != "*" && !rest.contains(['"', '\\', ' ']);
        known.then(|| Self {
            url: format!("{scheme}://{}", rest.trim_end_matches('/')),
            host: host.to_owned(),
        })
    }
}

fn list(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => vec![],
    }
}

/// It becomes the name of a folder: letters, digits, `.`, `-`, `_`, `:` and brackets of IPv6.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    text == "*" || (!text.is_empty() && text.len() <= 255 && text.bytes().all(plain) && !text.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn mirrors_tls_and_passwords() {
        let (files, without) = hosts(&json!({
            "mirrors": {
                "docker.io": { "endpoint": ["https://mirror.example:5000", "http://10.0.0.1/v2"], "rewrite": { "^x": "y" } },
                "*": { "endpoint": "https://mirror.example:5000" },
            },
            "configs": {
                "mirror.example:5000": {
                    "auth": { "username": "u", "password": 1234 },
                    "tls": { "ca_file": "/ca.pem", "cert_file": "/c.pem", "key_file": "/k.pem", "insecure_skip_verify": true },
                },
                "ghcr.io": { "auth": { "auth": "dTpw" } },
            },
        }));
        let all = files
            .iter()
            .fold(String::new(), |all, f| format!("{all}## {} {:o}\n{}", f.path, f.mode, f.text));
        let mirror = "\n[host.\"https://mirror.example:5000\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = \"/ca.pem\"\n  \
                      client = [[\"/c.pem\", \"/k.pem\"]]\n  skip_verify = true\n  [host.\"https://mirror.example:5000\".header]\n    \
                      Authorization = \"Basic dToxMjM0\"\n";
        let first = "# Made of /etc/rancher/k3s/registries.yaml at each boot.\n";
        let plain = |url: &str| format!("\n[host.\"{url}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
        let want = format!(
            "## /etc/containerd/certs.d/_default/hosts.toml 600\n{first}{mirror}\
             ## /etc/containerd/certs.d/docker.io/hosts.toml 600\n{first}server = \"https://registry-1.docker.io\"\n{mirror}{}{}\
             ## /etc/containerd/certs.d/ghcr.io/hosts.toml 600\n{first}server = \"https://ghcr.io\"\n{}  \
             [host.\"https://ghcr.io\".header]\n    Authorization = \"Basic dTpw\"\n\
             ## /etc/containerd/certs.d/mirror.example:5000/hosts.toml 600\n{first}server = \"https://mirror.example:5000\"\n{mirror}",
            plain("http://10.0.0.1/v2"),
            plain("https://registry-1.docker.io"),
            plain("https://ghcr.io"),
        );
        assert_eq!(all, want);
        assert_eq!(without.len(), 1, "{without:?}");
        assert!(without[0].contains("rewrite has no effect"));
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let (files, without) = hosts(&json!({
            "mirrors": { "../x": {}, "a/b": {}, "": {}, "ok": { "endpoint": ["ftp://x", "https://a\"b"] } },
            "configs": { "..": {} },
            "mirors": {},
        }));
        assert_eq!(files.len(), 1);
        assert_eq!(without.len(), 7, "{without:?}");
    }

    proptest! {
        #[test]
        fn any_names_stay_inside(names in proptest::collection::vec(".{0,12}", 0..6)) {
            let mirrors: serde_json::Map<_, _> = names.iter().map(|n| (n.clone(), json!({ "endpoint": [n] }))).collect();
            for f in hosts(&json!({ "mirrors": mirrors })).0 {
                let inner = f.path.strip_prefix("/etc/containerd/certs.d/").unwrap();
                prop_assert_eq!(inner.split('/').count(), 2);
                prop_assert!(!inner.starts_with('.'));
            }
        }
    }
}
