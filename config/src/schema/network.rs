//! The keys of `network:`: the part of netplan's version 2 schema that this release knows, and the rest of netplan's names, so that
//! they are answered with more than "unknown".

use super::Shape::{Bool, Named, Number, Section, Sections, Text, TextMap, Texts};
use super::{Key, key};
use crate::Phase::Network;
use crate::check::{self, Check};

pub(crate) const NETWORK: &[Key] = &[
    key("version", "version", &[], Number).checked(Check::Number(check::network_version)),
    key("ethernets", "ethernets", &[], Named(INTERFACE))
        .on(&[Network], "set up by netd")
        .checked(Check::Element(check::ethernet)),
    key("bonds", "bonds", &[], Named(INTERFACE))
        .on(&[Network], "made by netd")
        .checked(Check::Element(check::bond)),
    key("bridges", "bridges", &[], Named(INTERFACE))
        .on(&[Network], "made by netd")
        .checked(Check::Element(check::made)),
    key("vlans", "vlans", &[], Named(INTERFACE))
        .on(&[Network], "made by netd")
        .checked(Check::Element(check::vlan)),
    key("vrfs", "vrfs", &[], Named(INTERFACE))
        .on(&[Network], "made by netd")
        .checked(Check::Element(check::vrf)),
    key("wifis", "wifis", &[], Named(INTERFACE))
        .on(&[Network], "joined by iwd, addresses by netd")
        .checked(Check::Element(check::ethernet)),
];

pub(crate) const INTERFACE: &[Key] = &[
    key("match", "match", &[], Section(MATCH)).on(&[Network], "chooses the device"),
    key("dhcp4", "dhcp4", &[], Bool).on(&[Network], "asks for an IPv4 address"),
    key("dhcp4-overrides", "dhcp4Overrides", &["dhcp4_overrides"], Section(OVERRIDES)),
    key("dhcp6", "dhcp6", &[], Bool).on(&[Network], "asks for an IPv6 address"),
    key("accept-ra", "acceptRa", &["accept_ra"], Bool).on(&[Network], "whether router advertisements count"),
    key("addresses", "addresses", &[], Texts)
        .on(&[Network], "added to the interface")
        .checked(Check::Text(check::cidr)),
    key("gateway4", "gateway4", &[], Text)
        .on(&[Network], "default route for IPv4")
        .checked(Check::Text(check::ipv4)),
    key("gateway6", "gateway6", &[], Text)
        .on(&[Network], "default route for IPv6")
        .checked(Check::Text(check::ipv6)),
    key("nameservers", "nameservers", &[], Section(NAMESERVERS)),
    key("routes", "routes", &[], Sections(ROUTE))
        .on(&[Network], "added to the routing table")
        .checked(Check::Element(check::route)),
    key("routing-policy", "routingPolicy", &["routing_policy"], Sections(POLICY))
        .on(&[Network], "added to the rules of policy routing")
        .checked(Check::Element(check::policy)),
    key("mtu", "mtu", &[], Number)
        .on(&[Network], "set on the interface")
        .checked(Check::Number(check::mtu)),
    key("macaddress", "macaddress", &[], Text)
        .on(&[Network], "set on the interface")
        .checked(Check::Text(check::mac)),
    key("optional", "optional", &[], Bool).on(&[Network], "whether the boot waits for the interface"),
    key("interfaces", "interfaces", &[], Texts).on(&[Network], "made members"),
    key("id", "id", &[], Number)
        .on(&[Network], "the VLAN's tag")
        .checked(Check::Number(check::vlan_id)),
    key("link", "link", &[], Text).on(&[Network], "the VLAN's base"),
    key("table", "table", &[], Number)
        .on(&[Network], "the VRF's routing table")
        .checked(Check::Number(check::table)),
    key("parameters", "parameters", &[], TextMap)
        .on(&[Network], "set on the bond or bridge")
        .checked(Check::Pair(check::parameter)),
    key("access-points", "accessPoints", &["access_points"], Named(ACCESS_POINT))
        .on(&[Network], "joined, the preferred one of those in range")
        .checked(Check::Element(check::access_point)),
    key("regulatory-domain", "regulatoryDomain", &["regulatory_domain"], Text)
        .on(&[Network], "what the radios may do")
        .checked(Check::Text(check::country)),
];

const MATCH: &[Key] = &[
    key("name", "name", &[], Text),
    key("macaddress", "macaddress", &[], Text).checked(Check::Text(check::mac)),
    key("driver", "driver", &[], Text),
    key("path", "path", &[], Text),
];

const NAMESERVERS: &[Key] = &[
    key("addresses", "addresses", &[], Texts)
        .on(&[Network], "asked for names")
        .checked(Check::Text(check::ip)),
    key("search", "search", &[], Texts)
        .on(&[Network], "domains to search")
        .checked(Check::Text(check::host)),
];

const ROUTE: &[Key] = &[
    key("to", "to", &[], Text).checked(Check::Text(check::destination)),
    key("via", "via", &[], Text).checked(Check::Text(check::ip)),
    key("metric", "metric", &[], Number),
    key("on-link", "onLink", &["on_link"], Bool),
    key("table", "table", &[], Number).checked(Check::Number(check::table)),
    key("from", "from", &[], Text).checked(Check::Text(check::ip)),
];

const POLICY: &[Key] = &[
    key("from", "from", &[], Text).checked(Check::Text(check::network_of)),
    key("to", "to", &[], Text).checked(Check::Text(check::network_of)),
    key("table", "table", &[], Number).checked(Check::Number(check::table)),
    key("priority", "priority", &[], Number).checked(Check::Number(check::priority)),
    key("mark", "mark", &[], Number),
];

const OVERRIDES: &[Key] = &[
    key("use-dns", "useDns", &["use_dns"], Bool).on(&[Network], "whether DHCP's name servers count"),
    key("use-ntp", "useNtp", &["use_ntp"], Bool).on(&[Network], "whether DHCP's time servers count"),
    key("use-mtu", "useMtu", &["use_mtu"], Bool).on(&[Network], "whether DHCP's MTU counts"),
    key("use-routes", "useRoutes", &["use_routes"], Bool).on(&[Network], "whether DHCP's routes count"),
    key("route-metric", "routeMetric", &["route_metric"], Number).on(&[Network], "the metric of DHCP's routes"),
];

const ACCESS_POINT: &[Key] = &[
    key("password", "password", &[], Text).secret(),
    key("hidden", "hidden", &[], Bool),
    key("priority", "priority", &[], Number),
];

/// Names that netplan knows and this release does not.
pub(crate) const NOT_YET: &[&str] = &[
    "renderer",
    "tunnels",
    "modems",
    "dummy-devices",
    "virtual-ethernets",
    "nm-devices",
    "openvswitch",
    "set-name",
    "wakeonlan",
    "emit-lldp",
    "dhcp-identifier",
    "dhcp6-overrides",
    "ipv6-privacy",
    "ipv6-mtu",
    "ipv6-address-generation",
    "ipv6-address-token",
    "link-local",
    "critical",
    "optional-addresses",
    "activation-mode",
    "neigh-suppress",
    "auth",
    "ignore-carrier",
    "scope",
    "type",
    "advertised-mss",
    "congestion-window",
    "mode",
    "bssid",
    "band",
    "channel",
    "receive-checksum-offload",
    "transmit-checksum-offload",
    "tcp-segmentation-offload",
    "large-receive-offload",
    "generic-segmentation-offload",
    "generic-receive-offload",
    "tcp6-segmentation-offload",
    "infiniband-mode",
    "virtual-function-count",
    "embedded-switch-mode",
    "delay-virtual-functions-rebind",
];
