use super::*;
use crate::pods::wanted::mac_of_tunnel;
use proptest::prelude::*;

/// As iproute2 6.1 wrote it (shortened: what is not read is left out).
const LINKS: &str = r#"[
 {"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00",
  "addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8},{"family":"inet6","local":"::1","prefixlen":128}]},
 {},
 {"ifindex":2,"ifname":"skerry-vxlan","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1450,"link_type":"ether","address":"02:53:0a:2a:01:00",
  "linkinfo":{"info_kind":"vxlan","info_data":{"id":1,"port_range":{"low":0,"high":0},"port":8472,"learning":false,"ttl":0}},
  "addr_info":[{"family":"inet","local":"10.42.1.0","prefixlen":32,"scope":"global"}]},
 {"ifindex":3,"ifname":"bond0.5","flags":["BROADCAST"],"mtu":9000,"address":"52:54:00:00:00:01","linkinfo":{"info_kind":"vlan","info_data":{"protocol":"802.1Q","id":5,"flags":[]}},"addr_info":[]},
 {"ifindex":4,"ifname":"old","flags":[],"mtu":1450,"linkinfo":{"info_kind":"vxlan","info_data":{"id":7,"port":4789}},"addr_info":[]}
]"#;

#[test]
fn what_iproute2_says_of_links() {
    let links = links(LINKS).unwrap();
    assert_eq!(
        links.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(),
        ["lo", "skerry-vxlan", "bond0.5", "old"]
    );
    assert_eq!(links[0].addresses, ["127.0.0.1/8".parse().unwrap()]);
    assert_eq!(links[1].vxlan, Some((1, 8472, false)));
    assert_eq!(links[1].mac, Some(mac_of_tunnel(Ipv4Addr::new(10, 42, 1, 0))));
    assert!(links[1].up && !links[2].up && links[2].vxlan.is_none());
    assert_eq!(links[3].vxlan, Some((7, 4789, true)));
    assert_eq!(links.iter().map(Link::is_outer).collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn what_iproute2_says_of_routes_and_ends() {
    let text = r#"[{"dst":"10.42.2.0/24","gateway":"10.42.2.0","dev":"skerry-vxlan","flags":["onlink"]},
        {"dst":"10.42.3.0/24","dev":"skerry-wg","scope":"link","flags":[]},{"dst":"default","gateway":"10.0.0.9","dev":"eth0","flags":[]},
        {"dst":"10.42.4.9","gateway":"10.0.0.2","dev":"eth0","flags":["linkdown"]},{"dst":"fd00::/8","dev":"eth0","flags":[]}]"#;
    let found = routes(text).unwrap();
    let shown: Vec<String> = found
        .iter()
        .map(|(to, hop)| format!("{to} {:?} {} {}", hop.via.map(|v| v.to_string()), hop.link, hop.on_link))
        .collect();
    assert_eq!(
        shown,
        [
            r#"10.42.2.0/24 Some("10.42.2.0") skerry-vxlan true"#,
            "10.42.3.0/24 None skerry-wg false",
            r#"0.0.0.0/0 Some("10.0.0.9") eth0 false"#,
            r#"10.42.4.9/32 Some("10.0.0.2") eth0 false"#,
            "fd00::/8 None eth0 false",
        ]
    );
    let mac = mac_of_tunnel(Ipv4Addr::new(10, 42, 2, 0));
    let text = r#"[{"dst":"10.42.2.0","lladdr":"02:53:0a:2a:02:00","state":["PERMANENT"]},{"dst":"10.42.3.0","lladdr":"02:53:0a:2a:03:00","state":["STALE"]},{"dst":"10.42.4.0","state":["FAILED"]}]"#;
    let end = |n| IpAddr::from([10, 42, n, 0]);
    assert_eq!(neighbours(text).unwrap(), [(end(2), Some(mac)), (end(3), None), (end(4), None)]);
    let text = r#"[{"mac":"02:53:0a:2a:02:00","dst":"10.9.9.9","flags":["self"],"state":"permanent"},{"mac":"33:33:00:00:00:01","flags":["self"],"state":"permanent"}]"#;
    assert_eq!(forwards(text).unwrap(), [(mac, Ipv4Addr::new(10, 9, 9, 9))]);
    for empty in ["", "\n", "[]", "[ ]"] {
        assert!(routes(empty).unwrap().is_empty() && links(empty).unwrap().is_empty());
    }
    for bad in ["{", "Error: x", "[1]"] {
        assert!(links(bad).is_err() && forwards(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_wg_says() {
    let own = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
    let peer = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";
    let text = format!(
        "PRIVATE\t{own}\t51820\toff\n{peer}\t(none)\t10.0.0.2:51820\t10.42.2.0/24\t1700000000\t92\t180\t25\n{own}\t(none)\t(none)\t(none)\t0\t0\t0\toff\njunk\n"
    );
    let found = wireguard(&text).unwrap();
    assert_eq!((found.key, found.port, found.peers.len()), (PublicKey::parse(own), 51820, 2));
    assert_eq!(found.peers[0].endpoint, "10.0.0.2:51820".parse().ok());
    assert_eq!(found.peers[0].allowed, ["10.42.2.0/24".parse().unwrap()]);
    assert_eq!(found.peers[0].handshake, 1_700_000_000);
    assert_eq!(
        (found.peers[1].endpoint, found.peers[1].allowed.len(), found.peers[1].handshake),
        (None, 0, 0)
    );
    assert_eq!(wireguard("(none)\t(none)\t0\toff\n"), Some(WireGuard::default()));
    assert_eq!(wireguard(""), None);
}

proptest! {
    #[test]
    fn nothing_panics(text in "\\PC{0,80}") {
        let _ = (links(&text), routes(&text), neighbours(&text), forwards(&text), wireguard(&text));
    }
}
