//! The rule by which pods reach what is outside of the cluster: with the node's address. Among themselves they keep their own.
//!
//! One table of ours, so that one transaction of `nft -f` replaces all of it, and nobody else's is touched. A verdict to accept in
//! one table does not undo a drop in another, so there is none here: forwarding is the kernel's default, and a firewall's business.

use skerry_config::address::IpNet;

/// The table's family and name.
pub const TABLE: [&str; 2] = ["inet", "skerry-pods"];

/// What `nft -f -` is given: the table is there afterwards as it is written here, whatever it was.
pub fn rules(pods: IpNet, pods6: Option<IpNet>) -> String {
    let [family, name] = TABLE;
    let pods = pods.trunc();
    let six = pods6.map(|six| six.trunc()).map_or_else(String::new, |pods| {
        format!("\n\t\tip6 saddr {pods} ip6 daddr != {{ {pods}, ff00::/8 }} masquerade fully-random comment \"pods to the outside\"")
    });
    format!(
        "add table {family} {name}
delete table {family} {name}
table {family} {name} {{
\tchain postrouting {{
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\tip saddr {pods} ip daddr != {{ {pods}, 224.0.0.0/4 }} masquerade fully-random comment \"pods to the outside\"{six}
\t}}
}}
"
    )
}

/// What removes it, if it is there.
pub fn removal() -> String {
    let [family, name] = TABLE;
    format!("add table {family} {name}\ndelete table {family} {name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_it_is_given_to_nft() {
        let both = rules("10.42.1.7/16".parse().unwrap(), "fd42::1/56".parse().ok());
        assert!(
            both.contains("\t\tip6 saddr fd42::/56 ip6 daddr != { fd42::/56, ff00::/8 } masquerade"),
            "{both}"
        );
        let text = rules("10.42.1.7/16".parse().unwrap(), None);
        assert!(!text.contains("ip6"));
        assert!(text.contains("ip saddr 10.42.0.0/16 ip daddr != { 10.42.0.0/16, 224.0.0.0/4 } masquerade"));
        assert!(text.starts_with(&removal()), "one transaction, from any state");
    }
}
