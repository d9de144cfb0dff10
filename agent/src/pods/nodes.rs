//! What the Node objects say of the pod network.

use serde_json::Value;
use skerry_config::address::{IpNet, net};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The annotation that carries a node's public `WireGuard` key, in base64.
pub const KEY_ANNOTATION: &str = "skerry.io/wireguard-key";

/// One node, as the API has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where other nodes reach it.
    pub address: Option<Ipv4Addr>,
    /// The addresses of its pods, as the cluster gave them.
    pub pods: Option<IpNet>,
    /// Those of IPv6, in a cluster that has both.
    pub pods6: Option<IpNet>,
    /// Its public key.
    pub key: Option<PublicKey>,
}

/// A `WireGuard` key in base64: 32 bytes, so 44 characters of which the last is `=`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(String);

impl PublicKey {
    /// Reads one. Nothing else may reach a command line.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let body = text.strip_suffix('=')?;
        let fits = body.len() == 43 && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
        // The last character carries four bits.
        let whole = body.bytes().last().is_some_and(|b| b"AEIMQUYcgkosw048".contains(&b));
        (fits && whole).then(|| Self(text.to_owned()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads a Node object. What is missing or not understood is not there.
pub fn read(node: &Value) -> Node {
    let text = |path: &str| node.pointer(path).and_then(Value::as_str);
    let ranges = node.pointer("/spec/podCIDRs").and_then(Value::as_array);
    let ranges = ranges.into_iter().flatten().filter_map(Value::as_str);
    let ranges: Vec<IpNet> = ranges.chain(text("/spec/podCIDR")).filter_map(|r| Some(net(r)?.trunc())).collect();
    let first = |is_v4: bool| ranges.iter().find(|r| r.addr().is_ipv4() == is_v4).copied();
    Node {
        name: text("/metadata/name").unwrap_or_default().to_owned(),
        address: internal(node).find(|a| is_reachable(*a)),
        pods: first(true),
        pods6: first(false),
        key: node
            .pointer("/metadata/annotations")
            .and_then(|a| a[KEY_ANNOTATION].as_str())
            .and_then(PublicKey::parse),
    }
}

/// Where the node is reached by IPv6, in a cluster that has both.
pub fn address6(node: &Value) -> Option<Ipv6Addr> {
    internal(node).find(|a: &Ipv6Addr| !(a.is_loopback() || a.is_unspecified() || a.is_multicast() || a.is_unicast_link_local()))
}

/// The internal addresses of a family.
fn internal<A: FromStr>(node: &Value) -> impl Iterator<Item = A> + '_ {
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array);
    let internal = addresses.into_iter().flatten().filter(|a| a["type"] == "InternalIP");
    internal.filter_map(|a| a["address"].as_str()?.parse().ok())
}

fn is_reachable(a: Ipv4Addr) -> bool {
    !(a.is_loopback() || a.is_unspecified() || a.is_multicast() || a.is_broadcast() || a.is_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const KEY: &str = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";

    #[test]
    fn all_there() {
        let object = json!({
            "metadata": { "name": "n1", "annotations": { KEY_ANNOTATION: KEY } },
            "spec": { "podCIDR": "10.42.1.0/24", "podCIDRs": ["fd00:42::/64", "10.42.1.0/24"] },
            "status": { "addresses": [
                { "type": "Hostname", "address": "n1" },
                { "type": "ExternalIP", "address": "192.0.2.1" },
                { "type": "InternalIP", "address": "fd00::1" },
                { "type": "InternalIP", "address": "10.0.0.1" },
                { "type": "InternalIP", "address": "10.9.0.1" },
            ] },
        });
        assert_eq!(address6(&object), "fd00::1".parse().ok());
        let node = read(&object);
        assert_eq!(
            node,
            Node {
                name: "n1".into(),
                address: Some(Ipv4Addr::new(10, 0, 0, 1)),
                pods: "10.42.1.0/24".parse().ok(),
                pods6: "fd00:42::/64".parse().ok(),
                key: PublicKey::parse(KEY),
            }
        );
        assert!(node.key.is_some());
    }

    #[test]
    fn what_is_wrong_is_not_there() {
        for node in [
            json!({}),
            json!([]),
            json!({ "spec": { "podCIDR": 5, "podCIDRs": "x" }, "status": { "addresses": {} } }),
        ] {
            assert_eq!(read(&node), Node::default());
        }
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "169.254.1.1",
            "fe80::1",
            "::1",
            "ff02::1",
            "n1",
            "-h",
        ] {
            let object = json!({ "status": { "addresses": [{ "type": "InternalIP", "address": address }] } });
            let node = read(&object);
            assert_eq!((node.address, address6(&object)), (None, None), "{address}");
        }
        assert_eq!(
            read(&json!({ "spec": { "podCIDR": "10.42.1.7/24" } })).pods,
            "10.42.1.0/24".parse().ok()
        );
    }

    #[test]
    fn keys() {
        assert_eq!(PublicKey::parse(&format!(" {KEY}\n")).map(|k| k.0).as_deref(), Some(KEY));
        let other_end = format!("{}x=", &KEY[..42]);
        for bad in [
            "",
            "=",
            "-h",
            &KEY[1..],
            &KEY[..43],
            &other_end,
            &format!("{KEY}="),
            &KEY.replace('9', " "),
        ] {
            assert_eq!(PublicKey::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn keys_of_any_text(text in "[A-Za-z0-9+/=\\PC]{0,60}") {
            if let Some(key) = PublicKey::parse(&text) {
                prop_assert!(key.as_str().len() == 44 && key.as_str().is_ascii());
            }
        }
    }
}
