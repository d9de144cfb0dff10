//! Which values can be used: one small rule a key. A value that cannot be used is left out; a doubtful one is kept and named.

use crate::cloud;
use crate::merge::{Item, Tree};
use crate::parameters;
use crate::suggest;
use crate::write_file::parse_mode;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The rule of a key.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    None,
    /// For a text, or each text of a list.
    Text(fn(&str) -> Verdict),
    Number(fn(u64) -> Verdict),
    /// For each name and value of a map of texts.
    Pair(fn(&str, &str) -> Verdict),
    /// For a section, each section of a list, or each named section (with its name).
    Element(fn(&str, &mut Item) -> Verdict),
}

/// What a rule says.
pub(crate) enum Verdict {
    Good,
    /// Kept: what is doubtful, and what to write.
    Doubtful(String, String),
    /// Left out: what is wrong, and what to write.
    Bad(String, String),
    /// Another value was put in its place: what is wrong, what was done, what to write.
    Mended(String, String, String),
}

use Verdict::{Bad, Doubtful, Good, Mended};

fn bad(what: &str, write: &str) -> Verdict {
    Bad(what.to_owned(), write.to_owned())
}

fn doubtful(what: &str, write: &str) -> Verdict {
    Doubtful(what.to_owned(), write.to_owned())
}

/// Whether a text can be a key for SSH, or names where keys come from.
pub(crate) fn is_ssh_key(text: &str) -> bool {
    let text = text.trim();
    let fetched = ["github:", "gitlab:", "http://", "https://"]
        .iter()
        .any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    let kinds = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"];
    let literal =
        text.split_whitespace().any(|word| kinds.iter().any(|kind| word.starts_with(kind))) && text.split_whitespace().count() > 1;
    fetched || literal
}

pub(crate) fn ssh_key(text: &str) -> Verdict {
    if text.contains(['\n', '\r', '\0']) && text.trim().lines().count() > 1 {
        return bad("more than one line", "one list item for each key");
    }
    if is_ssh_key(text) {
        return Good;
    }
    doubtful(
        "this is neither a public key nor github:USER, gitlab:USER or http(s)://…",
        "ssh-ed25519 AAAA… name",
    )
}

pub(crate) fn hostname(text: &str) -> Verdict {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if text.len() > 64 || !text.chars().all(allowed) {
        return bad("a host name is at most 64 letters, digits, dots and hyphens", "hostname: node-1");
    }
    let label = |part: &str| !part.is_empty() && part.len() <= 63 && !part.starts_with('-') && !part.ends_with('-');
    if text.chars().any(|c| c.is_ascii_uppercase() || c == '_') || !text.split('.').all(label) {
        let better = text.to_ascii_lowercase().replace('_', "-");
        let better = better
            .split('.')
            .map(|part| part.trim_matches('-'))
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(".");
        return Doubtful(
            "Kubernetes wants a lower-case DNS name as the node's name".to_owned(),
            format!("hostname: {better}"),
        );
    }
    Good
}

pub(crate) fn command(text: &str) -> Verdict {
    if text.contains('\0') {
        bad("a command cannot hold a NUL byte", "")
    } else {
        Good
    }
}

pub(crate) fn argument(text: &str) -> Verdict {
    if text.contains('\0') {
        return bad("an argument cannot hold a NUL byte", "");
    }
    if text.split_whitespace().count() > 1
        && text.starts_with(['-', 's', 'a'])
        && text.split_whitespace().any(|word| word.starts_with("--"))
    {
        let items = text
            .split_whitespace()
            .map(|word| format!("- {word}"))
            .collect::<Vec<_>>()
            .join("\n");
        return Doubtful("this is one argument with blanks in it; it is not split".to_owned(), items);
    }
    Good
}

pub(crate) fn data_source(text: &str) -> Verdict {
    if cloud::find(text).is_some() || cloud::file(text).is_some() {
        return Good;
    }
    let names = cloud::CLOUDS.iter().map(|cloud| cloud.name);
    Doubtful(
        "not a known data source".to_owned(),
        suggest::nearest(text, names)
            .unwrap_or("aws, gcp, hetzner, openstack, …")
            .to_owned(),
    )
}

pub(crate) fn swap(text: &str) -> Verdict {
    match crate::size::bytes(text) {
        Some(0) => Good,
        Some(bytes) if bytes >= 1 << 20 => Good,
        _ => bad("not a size of at least 1 MiB", "swap: 2GiB"),
    }
}

pub(crate) fn ports(text: &str) -> Verdict {
    match text.parse::<crate::ports::Ports>() {
        Ok(_) => Good,
        Err(why) => bad(&why, "open_ports: [tcp/8080]"),
    }
}

pub(crate) fn module(text: &str) -> Verdict {
    let name = text.split_whitespace().next().unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('-') || !name.chars().all(allowed) {
        return bad("not the name of a module", "name param=value");
    }
    Good
}

pub(crate) fn sysctl(name: &str, value: &str) -> Verdict {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@');
    if name.is_empty() || !name.chars().all(allowed) || name.contains("..") || name.contains("//") || name.starts_with(['/', '.']) {
        return bad("not the name of a kernel parameter", "net.ipv4.ip_forward: '1'");
    }
    if value.contains(['\n', '\0']) {
        bad("more than one line", "")
    } else {
        Good
    }
}

pub(crate) fn host(text: &str) -> Verdict {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if text.is_empty() || text.len() > 253 || !text.chars().all(allowed) {
        bad("not a host name or address", "")
    } else {
        Good
    }
}

pub(crate) fn ip(text: &str) -> Verdict {
    if text.parse::<IpAddr>().is_ok() {
        Good
    } else {
        bad("not an IP address", "192.0.2.1")
    }
}

pub(crate) fn ipv4(text: &str) -> Verdict {
    if text.parse::<Ipv4Addr>().is_ok() {
        Good
    } else {
        bad("not an IPv4 address", "192.0.2.1")
    }
}

pub(crate) fn ipv6(text: &str) -> Verdict {
    if text.parse::<Ipv6Addr>().is_ok() {
        Good
    } else {
        bad("not an IPv6 address", "2001:db8::1")
    }
}

pub(crate) fn cidr(text: &str) -> Verdict {
    let (address, prefix) = text
        .split_once('/')
        .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let Ok(address) = address.parse::<IpAddr>() else {
        return bad("not an address with its prefix length", "192.0.2.10/24");
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    match prefix.map(str::parse::<u32>) {
        Some(Ok(prefix)) if prefix <= longest => Good,
        Some(_) => Bad(
            format!("the prefix length is a number from 0 to {longest}"),
            format!("{address}/{}", longest * 3 / 4),
        ),
        None => Bad(
            "the prefix length is missing".to_owned(),
            format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 }),
        ),
    }
}

pub(crate) fn destination(text: &str) -> Verdict {
    if text == "default" { Good } else { cidr(text) }
}

pub(crate) fn mac(text: &str) -> Verdict {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let good = parts.len() == 6
        && parts
            .iter()
            .all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if good {
        Good
    } else {
        bad("not a hardware address", "'52:54:00:12:34:56'")
    }
}

pub(crate) fn mtu(value: u64) -> Verdict {
    if (68..=65_535).contains(&value) {
        Good
    } else {
        bad("an MTU is from 68 to 65535", "mtu: 1500")
    }
}

pub(crate) fn vlan_id(value: u64) -> Verdict {
    if (1..=4094).contains(&value) {
        Good
    } else {
        bad("a VLAN's tag is from 1 to 4094", "id: 10")
    }
}

/// The kernel's own tables are 253 to 255; 254 is the main one (rtnetlink(7)).
pub(crate) fn table(value: u64) -> Verdict {
    if (1..=u64::from(u32::MAX)).contains(&value) && value != 255 {
        Good
    } else {
        bad("not a routing table of yours", "table: 100")
    }
}

/// Rule 0 is the kernel's own, which finds this machine's addresses.
pub(crate) fn priority(value: u64) -> Verdict {
    if (1..32_766).contains(&value) {
        Good
    } else {
        bad("a rule's priority is from 1 to 32765, before the main table's", "priority: 100")
    }
}

/// An address, or a network.
pub(crate) fn network_of(text: &str) -> Verdict {
    if text.parse::<IpAddr>().is_ok() { Good } else { cidr(text) }
}

pub(crate) fn parameter(name: &str, value: &str) -> Verdict {
    match parameters::is_possible(name, value) {
        (_, true) => Good,
        (true, false) => Bad(format!("`{name}` cannot be `{value}`"), String::new()),
        (false, _) => Bad(
            "not a parameter of bonds or bridges that is known here".to_owned(),
            suggest::nearest(name, parameters::names()).map_or(String::new(), |near| format!("{near}:")),
        ),
    }
}

pub(crate) fn network_version(value: u64) -> Verdict {
    if value == 2 {
        Good
    } else {
        bad("only netplan's version 2 is known", "version: 2")
    }
}

pub(crate) fn password(text: &str) -> Verdict {
    if text.contains(['\n', '\r', '\0']) {
        bad("a password is one line", "")
    } else {
        Good
    }
}

pub(crate) fn token(text: &str) -> Verdict {
    if text.contains(['\n', '\0']) {
        return bad("a token is one line", "");
    }
    if text.len() < 16 && !text.is_empty() {
        return doubtful(
            "a token this short can be guessed",
            "at least 16 characters, for instance of `openssl rand -hex 16`",
        );
    }
    Good
}

pub(crate) fn server_url(text: &str) -> Verdict {
    let host = text.strip_prefix("https://").unwrap_or_default();
    if host.is_empty() || host.contains(char::is_whitespace) {
        return doubtful("not the address of a server", "server_url: https://SERVER:6443");
    }
    Good
}

/// A label's name: `[DNS-SUBDOMAIN/]NAME`.
fn is_qualified(name: &str) -> bool {
    let (prefix, name) = name.split_once('/').map_or((None, name), |(prefix, name)| (Some(prefix), name));
    let domain = |text: &str| {
        let part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        text.len() <= 253 && text.split('.').all(part)
    };
    prefix.is_none_or(domain) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || text.len() <= 63
            && text.chars().all(|c| edge(c) || matches!(c, '-' | '_' | '.'))
            && text.starts_with(edge)
            && text.ends_with(edge)
}

pub(crate) fn label(name: &str, value: &str) -> Verdict {
    if !is_qualified(name) {
        return bad("not the name of a label", "example.com/name: value");
    }
    if !is_label_value(value) {
        return bad(
            "a label's value is at most 63 letters, digits, '-', '_' and '.', with a letter or digit at each end",
            "",
        );
    }
    Good
}

pub(crate) fn taint(text: &str) -> Verdict {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let write = "key=value:NoSchedule";
    let Some((pair, effect)) = text.rsplit_once(':') else {
        return bad("a taint ends in its effect", write);
    };
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    if !EFFECTS.contains(&effect) {
        let better = suggest::nearest(effect, EFFECTS.into_iter()).map_or(write.to_owned(), |effect| format!("{pair}:{effect}"));
        return Bad("the effect is NoSchedule, PreferNoSchedule or NoExecute".to_owned(), better);
    }
    if is_qualified(name) && is_label_value(value) {
        Good
    } else {
        bad("not a taint", write)
    }
}

pub(crate) fn environment(name: &str, value: &str) -> Verdict {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return bad("not the name of a variable", "HTTP_PROXY: http://proxy:3128");
    }
    if value.contains(['\n', '\0']) {
        bad("more than one line", "")
    } else {
        Good
    }
}

pub(crate) fn distribution(text: &str) -> Verdict {
    match text {
        "kubernetes" | "k3s" | "k0s" | "kubelet" | "edgecore" | "none" | "fake" => Good,
        "kubeedge" => bad("not a known distribution, did you mean `edgecore`?", "distribution: edgecore"),
        "microk8s" | "k8s-snap" => bad("it needs snapd and systemd, which are not here", "distribution: kubernetes"),
        _ => bad(
            "not a known distribution; the embedded Kubernetes runs instead",
            "distribution: kubernetes",
        ),
    }
}

/// The path of a program that the owner brings.
pub(crate) fn program(text: &str) -> Verdict {
    let climbs = text.split('/').any(|part| part == "..");
    if text.starts_with('/') && !text.ends_with('/') && !climbs && !text.contains(['\0', '\n']) && text.len() <= 1000 {
        Good
    } else {
        bad("not the whole path of a program", "path: /usr/local/bin/k3s")
    }
}

/// A release's name: it becomes a folder's.
pub(crate) fn version(text: &str) -> Verdict {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    if text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed) {
        Good
    } else {
        bad("not the name of a release", "version: v1.33.4+k3s1")
    }
}

/// Where a program is fetched from.
pub(crate) fn program_url(text: &str) -> Verdict {
    let host = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match host {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !text.contains(char::is_whitespace) => Good,
        _ => bad("not an address of http or https", "url: https://SERVER/k3s"),
    }
}

pub(crate) fn sha256(text: &str) -> Verdict {
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        Good
    } else {
        bad("a SHA-256 has 64 hexadecimal digits", "sha256: what sha256sum says of the file")
    }
}

pub(crate) fn owner(text: &str) -> Verdict {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if !text.chars().all(allowed) || text.matches(':').count() > 1 {
        bad("not USER or USER:GROUP", "owner: root:root")
    } else {
        Good
    }
}

pub(crate) fn path(text: &str) -> Verdict {
    if text.contains('\0') || text.len() > 4000 {
        bad("not a path", "path: /etc/…")
    } else {
        Good
    }
}

pub(crate) fn user_name(text: &str) -> Verdict {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
    if !first || !rest || text.len() > 32 {
        return bad("a login name is lower-case letters, digits, '-' and '_'", "name: operator");
    }
    if ["root", "skerry", "rancher"].contains(&text) {
        return bad("this user is there already", "ssh_authorized_keys: and skerry.password: for skerry");
    }
    Good
}

pub(crate) fn certificate(text: &str) -> Verdict {
    let begins = text.matches("-----BEGIN CERTIFICATE-----").count();
    if begins == 0 || begins != text.matches("-----END CERTIFICATE-----").count() {
        return bad(
            "not a certificate in PEM",
            "a block from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----",
        );
    }
    if text.contains("PRIVATE KEY") {
        doubtful("this holds a private key", "the certificate only")
    } else {
        Good
    }
}

pub(crate) fn user(_: &str, item: &mut Item) -> Verdict {
    if item.text("name").is_empty() {
        bad("no usable `name:`", "name: operator")
    } else {
        Good
    }
}

pub(crate) fn wifi(_: &str, item: &mut Item) -> Verdict {
    if item.text("name").is_empty() {
        return bad("no `name:`", "name: the network's name");
    }
    wifi_network(item.text("name"), item.text("passphrase"))
}

/// A Wi-Fi network in netplan's form; its name is the key.
pub(crate) fn access_point(name: &str, item: &mut Item) -> Verdict {
    wifi_network(name, item.text("password"))
}

/// Whether a text can be a Wi-Fi network's passphrase (8 to 63 printable ASCII characters), or its key (64 hexadecimal digits).
pub fn is_wifi_secret(text: &str) -> bool {
    let is_key = text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
    let is_passphrase = (8..=63).contains(&text.len()) && text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    is_key || is_passphrase
}

fn wifi_network(name: &str, passphrase: &str) -> Verdict {
    if name.is_empty() || name.len() > 32 || name.contains('\0') {
        return bad("the name of a Wi-Fi network has 1 to 32 bytes", "");
    }
    if passphrase.is_empty() || is_wifi_secret(passphrase) {
        return Good;
    }
    // Kept, for a secret that is left out would not be taken for one; nobody joins by it.
    doubtful(
        "it is not joined: a Wi-Fi passphrase has 8 to 63 letters, digits, signs or blanks (or is a key of 64 hexadecimal digits)",
        "",
    )
}

pub(crate) fn country(text: &str) -> Verdict {
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        Good
    } else {
        bad("not a country by its two capital letters (ISO 3166)", "regulatory-domain: DE")
    }
}

pub(crate) fn route(_: &str, item: &mut Item) -> Verdict {
    if item.text("to").is_empty() {
        return bad("no usable `to:`", "to: default");
    }
    let link = matches!(
        item.get("on-link"),
        Some(Item {
            value: Tree::Bool(true),
            ..
        })
    );
    if item.text("via").is_empty() && !link {
        bad("no usable `via:`", "via: 192.0.2.1")
    } else {
        Good
    }
}

pub(crate) fn ethernet(name: &str, item: &mut Item) -> Verdict {
    let matched = matches!(item.get("match"), Some(Item { value: Tree::Section(keys), .. }) if !keys.is_empty());
    if !matched {
        // An empty match would mean every device.
        item.remove("match");
    }
    if !matched && (name.is_empty() || name.len() > 15 || name.contains(['/', ' ', ':'])) {
        return bad(
            "not the name of an interface, and no `match:` says which device is meant",
            "match: {macaddress: '52:54:00:12:34:56'}",
        );
    }
    if let Some(Item {
        value: Tree::Section(keys),
        ..
    }) = item.get("nameservers")
    {
        if keys.is_empty() {
            return doubtful("`nameservers:` is empty", "nameservers: {addresses: [192.0.2.1]}");
        }
    }
    Good
}

/// The name of an interface that netd is to make.
pub(crate) fn made(name: &str, item: &mut Item) -> Verdict {
    item.remove("match");
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%');
    if name.is_empty() || name.len() > 15 || !name.chars().all(plain) || [".", "..", "lo", "all", "default"].contains(&name) {
        return bad("not the name of an interface: up to 15 letters and digits", "br0:");
    }
    Good
}

pub(crate) fn bond(name: &str, item: &mut Item) -> Verdict {
    if item.get("interfaces").is_none() {
        return bad("a bond without `interfaces:`", "interfaces: [eth0, eth1]");
    }
    made(name, item)
}

pub(crate) fn vlan(name: &str, item: &mut Item) -> Verdict {
    if item.get("id").is_none() || item.text("link").is_empty() {
        return bad("a VLAN needs `id:` and `link:`", "{id: 10, link: eth0}");
    }
    made(name, item)
}

pub(crate) fn vrf(name: &str, item: &mut Item) -> Verdict {
    if item.get("table").is_none() {
        return bad("a VRF needs `table:`", "table: 100");
    }
    made(name, item)
}

pub(crate) fn policy(_: &str, item: &mut Item) -> Verdict {
    if item.get("table").is_none() {
        return bad("a rule needs `table:`", "table: 100");
    }
    let (from, to) = (item.text("from"), item.text("to"));
    if from.is_empty() && to.is_empty() && item.get("mark").is_none() {
        return bad(
            "a rule without `from:`, `to:` or `mark:` would mean everything",
            "from: 192.0.2.0/24",
        );
    }
    if !from.is_empty() && !to.is_empty() && from.contains(':') != to.contains(':') {
        return bad("`from:` and `to:` are of two families", "");
    }
    Good
}

pub(crate) fn network(_: &str, item: &mut Item) -> Verdict {
    let Tree::Section(keys) = &item.value else { return Good };
    if keys.is_empty() {
        bad("nothing usable in it", "network: {version: 2, ethernets: {eth0: {dhcp4: true}}}")
    } else {
        Good
    }
}

/// A file is left out when it has no place or its content does not decode. A mode that cannot be read becomes the strictest.
pub(crate) fn write_file(_: &str, item: &mut Item) -> Verdict {
    if item.text("path").is_empty() {
        return bad("no usable `path:`", "path: /etc/…");
    }
    let file = item.write_file();
    if let Err(what) = file.decoded() {
        return Bad(what, String::new());
    }
    if file.permissions.is_empty() || parse_mode(&file.permissions).is_some() {
        return Good;
    }
    item.set_text("permissions", "0600");
    let what = format!("`permissions: {}` is not an octal number", file.permissions);
    Mended(what, "the file gets mode 0600".to_owned(), "permissions: '0644'".to_owned())
}
