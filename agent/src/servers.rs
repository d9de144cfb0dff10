//! Where the servers are: from what the cluster says of itself and what the owner said.

use crate::files::Servers;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::BTreeSet;

/// More are not kept.
const MOST: usize = 64;
/// The slices of the API's own service.
pub const SELECTOR: &str = "kubernetes.io/service-name=kubernetes";

/// `ADDRESS:PORT` of each API server that the slices of `default/kubernetes` name.
pub fn of_slices<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>) -> Vec<String> {
    let mut found = BTreeSet::new();
    for slice in slices {
        let ports = slice.ports.iter().flatten().filter_map(|p| p.port);
        let ready = |e: &&k8s_openapi::api::discovery::v1::Endpoint| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
        for port in ports {
            for address in slice.endpoints.iter().filter(ready).flat_map(|e| &e.addresses) {
                found.insert(if address.contains(':') {
                    format!("[{address}]:{port}")
                } else {
                    format!("{address}:{port}")
                });
            }
        }
    }
    found.into_iter().take(MOST).collect()
}

/// `HOST:PORT` of a server's URL.
pub fn of_url(url: &str) -> Option<String> {
    let uri: http::Uri = url.trim().parse().ok()?;
    let host = uri.host()?;
    (uri.scheme_str() == Some("https")).then(|| format!("{host}:{}", uri.port_u16().unwrap_or(443)))
}

/// What is kept. Never nothing, where something was known: a list that comes out empty is a mistake somewhere.
pub fn merge(before: &Servers, named: Vec<String>) -> Servers {
    let servers = if !named.is_empty() {
        named
    } else if before.servers.is_empty() {
        before.given.clone()
    } else {
        before.servers.clone()
    };
    Servers {
        servers,
        given: before.given.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(json: &serde_json::Value) -> EndpointSlice {
        serde_json::from_value(json.clone()).unwrap()
    }

    #[test]
    fn from_slices() {
        let v4 = slice(&serde_json::json!({
            "addressType": "IPv4", "metadata": {}, "ports": [{ "name": "https", "port": 6443 }],
            "endpoints": [
                { "addresses": ["10.0.0.2"], "conditions": { "ready": true } }, { "addresses": ["10.0.0.1"], "conditions": {} },
                { "addresses": ["10.0.0.3"], "conditions": { "ready": false } },
            ],
        }));
        let v6 = slice(&serde_json::json!({
            "addressType": "IPv6", "metadata": {}, "ports": [{ "port": 7443 }], "endpoints": [{ "addresses": ["fd00::1"] }],
        }));
        assert_eq!(of_slices([&v4, &v6, &v4]), ["10.0.0.1:6443", "10.0.0.2:6443", "[fd00::1]:7443"]);
        assert_eq!(of_slices([]), Vec::<String>::new());
    }

    #[test]
    fn from_urls() {
        for (url, wanted) in [
            ("https://10.0.0.1:6443", Some("10.0.0.1:6443")),
            (" https://name.example/path ", Some("name.example:443")),
            ("https://[fd00::1]:6443", Some("[fd00::1]:6443")),
            ("http://10.0.0.1:6443", None),
            ("10.0.0.1", None),
            ("", None),
        ] {
            assert_eq!(of_url(url).as_deref(), wanted, "{url}");
        }
    }

    #[test]
    fn never_nothing() {
        let list = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        for (servers, given, named, wanted) in [
            (&[][..], &["g"][..], &[][..], &["g"][..]),
            (&["s"], &["g"], &[], &["s"]),
            (&["s"], &["g"], &["n"], &["n"]),
            (&[], &[], &[], &[]),
        ] {
            let before = Servers {
                servers: list(servers),
                given: list(given),
            };
            let after = merge(&before, list(named));
            assert_eq!((after.servers, after.given), (list(wanted), list(given)));
        }
    }
}
