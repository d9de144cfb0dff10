//! The pod network's configuration on this node: the addresses the cluster gave it, and packets that fit through the tunnel.

use serde_json::{Value, json};
use skerry_config::address::IpNet;

/// What is to be written over `base`, unless it is there already (`now`).
pub fn wanted(base: &str, mtu: Option<u32>, now: &str) -> Option<String> {
    let mut wanted: Value = serde_json::from_str(base).ok()?;
    let plugins = wanted.get_mut("plugins").and_then(Value::as_array_mut)?;
    let bridge = plugins.iter_mut().find(|p| p["type"] == "bridge")?.as_object_mut()?;
    // The plugin knows only this node's addresses, and would hide pods from those of other nodes: see `masquerade.rs`.
    bridge.insert("ipMasq".into(), json!(false));
    bridge.remove("ipMasqBackend");
    if let Some(mtu) = mtu {
        bridge.insert("mtu".into(), json!(mtu));
    }
    let same = serde_json::from_str::<Value>(now).is_ok_and(|now| now == wanted);
    (!same).then(|| format!("{wanted:#}\n"))
}

/// The one for a node with these addresses.
pub fn base(pods: IpNet, pods6: Option<IpNet>) -> String {
    let subnets: Vec<String> = [Some(pods), pods6].into_iter().flatten().map(|p| p.to_string()).collect();
    skerry_distribution::kubernetes::files::conflist(&subnets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_once() {
        let base = base("10.42.3.0/24".parse().unwrap(), None);
        let first = wanted(&base, Some(1450), "").unwrap();
        let read: Value = serde_json::from_str(&first).unwrap();
        assert_eq!(read["plugins"][0]["mtu"], 1450);
        assert_eq!(read["plugins"][0]["ipMasq"], false);
        assert_eq!(read["plugins"][0]["ipam"]["ranges"][0][0]["subnet"], "10.42.3.0/24");
        assert_eq!(wanted(&base, Some(1450), &first), None);
        assert!(wanted(&base, Some(1420), &first).is_some());
        let plain = wanted(&base, None, &first).unwrap();
        assert!(!plain.contains("mtu"));
        assert_eq!(wanted(&base, None, &plain.replace('\n', " ")), None, "only what it says counts");
        assert!(wanted(&base, None, "{").is_some());
        assert_eq!(wanted("{}", None, ""), None);
    }

    #[test]
    fn of_both_families() {
        let both = base("10.42.3.0/24".parse().unwrap(), "fd42:0:0:3::/64".parse().ok());
        let read: Value = serde_json::from_str(&both).unwrap();
        assert_eq!(
            read["plugins"][0]["ipam"]["ranges"],
            json!([[{ "subnet": "10.42.3.0/24" }], [{ "subnet": "fd42:0:0:3::/64" }]])
        );
        assert_eq!(
            read["plugins"][0]["ipam"]["routes"],
            json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }])
        );
    }
}
