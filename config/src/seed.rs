//! A cloud-init NoCloud seed in our words: `user-data`, `meta-data` and `network-config` become the tree of a `config.yaml`.
//!
//! cloud-init's own documentation is the source: "NoCloud", "User data formats" and the module reference (cloudinit.readthedocs.io).
//! What has no meaning here is named, key by key; a key of ours is taken as it is.

use crate::read::{SOURCE_MAX, WHOLE};
use crate::report::Report;
use crate::schema;
use crate::tree::{Field, Kind, Mark, Node, Scalar, Value};
use crate::write_file::gunzip;
use std::borrow::Cow;

/// Other forms of user data, by how they begin.
const FORMS: &[(&str, &str)] = &[
    ("Content-Type:", "a MIME message"),
    ("MIME-Version:", "a MIME message"),
    ("From ", "a MIME message"),
    ("#include", "a list of addresses"),
    ("#cloud-boothook", "a boot hook"),
    ("#cloud-config-archive", "an archive"),
    ("#cloud-config-jsonp", "a JSON patch"),
    ("#part-handler", "a program for cloud-init"),
    ("#upstart-job", "an upstart job"),
    ("## template:", "a template"),
];

/// Keys that ask for what is so anyway, or tune it.
const AS_IS: &[&str] = &[
    "disable_root",
    "ssh_pwauth",
    "preserve_hostname",
    "manage_etc_hosts",
    "growpart",
    "resize_rootfs",
    "create_hostname_file",
    "prefer_fqdn_over_hostname",
    "datasource_list",
    "no_ssh_fingerprints",
    "chpasswd",
    "final_message",
];

/// Keys of cloud-init's modules that mean nothing on an immutable system, or nothing yet.
const MEANINGLESS: &[&str] = &[
    "package_update",
    "package_upgrade",
    "package_reboot_if_required",
    "packages",
    "apt",
    "apt_pipelining",
    "yum_repos",
    "zypper",
    "snap",
    "timezone",
    "locale",
    "keyboard",
    "mounts",
    "swap",
    "disk_setup",
    "fs_setup",
    "power_state",
    "phone_home",
    "rsyslog",
    "output",
    "system_info",
    "groups",
    "ssh_keys",
    "ssh_deletekeys",
    "ssh_genkeytypes",
    "resolv_conf",
    "manage_resolv_conf",
    "chef",
    "puppet",
    "salt_minion",
    "ansible",
    "landscape",
    "ubuntu_advantage",
    "lxd",
    "wireguard",
    "byobu_by_default",
    "grub_dpkg",
    "random_seed",
    "seed_random",
    "autoinstall",
    "merge_how",
    "merge_type",
    "vendor_data",
    "updates",
    "drivers",
    "fan",
    "spacewalk",
    "rh_subscription",
    "mcollective",
    "device_aliases",
];

/// User data as it is to be read: unpacked if it is packed. `None`: a form that is not known, which the report then says.
pub(crate) fn user_data_bytes<'a>(bytes: &'a [u8], report: &mut Report) -> Option<Cow<'a, [u8]>> {
    let bytes: Cow<'a, [u8]> = if bytes.starts_with(&[0x1f, 0x8b]) {
        match gunzip(bytes) {
            Ok(plain) if plain.len() <= SOURCE_MAX => plain.into(),
            Ok(_) => {
                report.error(WHOLE, "", format!("it unpacks to more than {} MiB", SOURCE_MAX >> 20), "");
                return None;
            }
            Err(why) => {
                report.error(WHOLE, "", why, "");
                return None;
            }
        }
    } else {
        bytes.into()
    };
    let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if let Some((_, what)) = FORMS.iter().find(|(form, _)| start.starts_with(form.as_bytes())) {
        let what = format!("this is user data of a form that is not known here: {what}");
        report.error(WHOLE, "", what, "#cloud-config and YAML, or a script that begins with #!");
        return None;
    }
    Some(bytes)
}

/// A `#cloud-config` in our words.
pub(crate) fn user_data(node: Node, report: &mut Report) -> Node {
    let Value::Map(fields) = node.value else { return node };
    let mut ours = Ours::default();
    let has_hostname = fields.iter().any(|f| f.key == "hostname");
    for mut field in fields {
        let (mark, key) = (field.mark, field.key.clone());
        match key.as_str() {
            "fqdn" if has_hostname => report.note(mark, &key, "`hostname` says it too", "`hostname` counts", ""),
            "fqdn" => ours.top("hostname", mark, field.value),
            "runcmd" | "bootcmd" => {
                field.value = commands(field.value);
                ours.fields.push(field);
            }
            "write_files" => {
                field.value = files(field.value, report);
                ours.fields.push(field);
            }
            "ssh_import_id" => ours.keys.extend(imported(field.value, &key, report)),
            "ssh_authorized_keys" => ours.keys.extend(items(field.value)),
            "users" | "user" => users(field, &mut ours, report),
            "password" => ours.skerry("password", mark, field.value),
            "ntp" => match field.value.value {
                Value::Map(below) => ntp(below, &mut ours, report),
                _ => ours.fields.push(field),
            },
            "ca_certs" | "ca-certs" => match field.value.value {
                Value::Map(below) => {
                    for f in below {
                        match f.key.as_str() {
                            "trusted" => ours.top("ca_certs", f.mark, f.value),
                            other => report.unknown(f.mark, &format!("{key}.{other}"), NOTHING, ""),
                        }
                    }
                }
                _ => ours.top("ca_certs", mark, field.value),
            },
            _ if AS_IS.contains(&key.as_str()) => {
                report.note(mark, &key, "cloud-init's key", "ignored: Skerry has its own way in this", "");
            }
            _ if MEANINGLESS.contains(&key.as_str()) => report.unknown(mark, &key, NOTHING, ""),
            // A key of ours; or unknown, which is said when it is read.
            _ => ours.fields.push(field),
        }
    }
    ours.node(node.mark)
}

const NOTHING: &str = "a key of cloud-init that means nothing here";

/// `meta-data` in our words: the name and the keys.
pub(crate) fn meta_data(node: Node, report: &mut Report) -> Node {
    let Value::Map(fields) = node.value else { return node };
    let mut ours = Ours::default();
    let has_local = fields.iter().any(|f| f.key == "local-hostname");
    for field in fields {
        let Field { key, mark, value } = field;
        match key.as_str() {
            "local-hostname" => ours.top("hostname", mark, value),
            "hostname" if !has_local => ours.top("hostname", mark, value),
            "public-keys" | "public_keys" => ours.keys.extend(public_keys(value)),
            "hostname" | "instance-id" | "instance_id" | "dsmode" | "cloud-name" | "platform" | "region" | "availability-zone" => {
                report.note(mark, &key, "metadata of a cloud", "ignored", "");
            }
            "network-interfaces" => report.unknown(mark, &key, "not in this version", "network-config, version 2"),
            _ => report.unknown(mark, &key, "metadata that means nothing here", ""),
        }
    }
    ours.node(node.mark)
}

/// `network-config` in our words. Its version is checked where ours is.
pub(crate) fn network(node: Node, report: &mut Report) -> Node {
    let mark = node.mark;
    let Value::Map(mut fields) = node.value else { return node };
    if let Some(at) = fields.iter().position(|f| f.key == "network") {
        let wrapped = fields.swap_remove(at);
        for rest in fields {
            report.unknown(rest.mark, &rest.key, "a key beside `network:`", "");
        }
        return map(mark, vec![wrapped]);
    }
    let is_version_1 = fields.iter().any(|f| f.key == "version" && text_of(&f.value) == Some("1"));
    if is_version_1 || fields.iter().any(|f| f.key == "config") {
        let what = "only version 2 (netplan's) of the network configuration is known";
        report.error(mark, "version", what, "version: 2");
        return map(mark, vec![]);
    }
    if fields.is_empty() {
        return map(mark, vec![]);
    }
    let value = map(mark, fields);
    map(mark, vec![named("network", mark, value)])
}

/// A document of ours in the making.
#[derive(Default)]
struct Ours {
    fields: Vec<Field>,
    keys: Vec<Node>,
    skerry: Vec<Field>,
}

impl Ours {
    fn top(&mut self, key: &str, mark: Mark, value: Node) {
        self.fields.push(named(key, mark, value));
    }

    fn skerry(&mut self, key: &str, mark: Mark, value: Node) {
        self.skerry.push(named(key, mark, value));
    }

    fn node(mut self, mark: Mark) -> Node {
        if let Some(first) = self.keys.first().map(|k| k.mark) {
            let list = Node {
                mark: first,
                value: Value::List(self.keys),
            };
            self.fields.push(named("ssh_authorized_keys", first, list));
        }
        let is_ours = |f: &Field| f.key == "skerry" || schema::K3OS.is_spelled(&f.key);
        match self.fields.iter_mut().find(|f| is_ours(f)) {
            Some(Field {
                value: Node {
                    value: Value::Map(there), ..
                },
                ..
            }) => there.extend(self.skerry),
            _ => {
                if let Some(first) = self.skerry.first().map(|f| f.mark) {
                    self.fields.push(named("skerry", first, map(first, self.skerry)));
                }
            }
        }
        map(mark, self.fields)
    }
}

fn named(key: &str, mark: Mark, value: Node) -> Field {
    Field {
        key: key.to_owned(),
        mark,
        value,
    }
}

fn map(mark: Mark, fields: Vec<Field>) -> Node {
    Node {
        mark,
        value: Value::Map(fields),
    }
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) if !scalar.is_null() => Some(&scalar.text),
        _ => None,
    }
}

/// A list's items; one value alone is a list of one.
fn items(node: Node) -> Vec<Node> {
    match node.value {
        Value::List(items) => items,
        Value::Scalar(Scalar { kind: Kind::Null, .. }) => vec![],
        _ => vec![node],
    }
}

/// Commands: an item that is a list is a program and its arguments, which no shell reads.
fn commands(node: Node) -> Node {
    let Node { mark, value } = node;
    let Value::List(items) = value else { return Node { mark, value } };
    let one = |item: Node| match &item.value {
        Value::List(words) if words.iter().all(|w| text_of(w).is_some()) => {
            let quoted: Vec<String> = words.iter().filter_map(text_of).map(quoted).collect();
            Node::text(item.mark, quoted.join(" "))
        }
        _ => item,
    };
    Node {
        mark,
        value: Value::List(items.into_iter().map(one).collect()),
    }
}

/// A word as sh(1) reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Files to write, without the keys that only cloud-init has.
fn files(node: Node, report: &mut Report) -> Node {
    let Node { mark, value } = node;
    let Value::List(items) = value else { return Node { mark, value } };
    let mut kept = vec![];
    for (at, mut item) in items.into_iter().enumerate() {
        let mut good = true;
        if let Value::Map(fields) = &mut item.value {
            fields.retain_mut(|f| {
                let path = format!("write_files[{at}].{}", f.key);
                let is_false = matches!(&f.value.value, Value::Scalar(s) if s.kind == Kind::Bool(false));
                match f.key.as_str() {
                    // Ours are written in each phase, that of cloud-init's `defer` among them.
                    "append" | "defer" if is_false => false,
                    "defer" => {
                        report.note(
                            f.mark,
                            &path,
                            "files are written early, and again before run_cmd",
                            "written all the same",
                            "",
                        );
                        false
                    }
                    "append" | "source" => {
                        report.error(f.mark, &path, format!("{NOTHING}, and the file would be another"), "");
                        good = false;
                        false
                    }
                    "encoding" if text_of(&f.value) == Some("text/plain") => false,
                    _ => true,
                }
            });
        }
        if good {
            kept.push(item);
        }
    }
    Node {
        mark,
        value: Value::List(kept),
    }
}

/// `ssh_import_id: [gh:me, lp:me]`.
fn imported(node: Node, path: &str, report: &mut Report) -> Vec<Node> {
    let mut keys = vec![];
    for item in items(node) {
        match text_of(&item).and_then(|t| t.strip_prefix("gh:")) {
            Some(user) => keys.push(Node::text(item.mark, format!("github:{user}"))),
            None => report.unknown(item.mark, path, "only gh:USER can be fetched", "gh:USER"),
        }
    }
    keys
}

/// A list of keys, one key, or keys by name, each a text or a map with `openssh-key`.
fn public_keys(node: Node) -> Vec<Node> {
    let Value::Map(fields) = node.value else {
        return items(node);
    };
    let mut keys = vec![];
    for field in fields {
        match field.value.value {
            Value::Map(below) => keys.extend(below.into_iter().filter(|f| f.key == "openssh-key").map(|f| f.value)),
            _ => keys.extend(items(field.value)),
        }
    }
    keys
}

fn ntp(fields: Vec<Field>, ours: &mut Ours, report: &mut Report) {
    let mut servers = vec![];
    let mut first = None;
    for field in fields {
        match field.key.as_str() {
            "servers" | "pools" | "peers" => {
                first = first.or(Some(field.mark));
                servers.extend(items(field.value));
            }
            "enabled" => {}
            other => report.unknown(field.mark, &format!("ntp.{other}"), NOTHING, ""),
        }
    }
    if let Some(mark) = first {
        let list = Node {
            mark,
            value: Value::List(servers),
        };
        ours.skerry("ntp_servers", mark, list);
    }
}

/// Users: the default one is ours; of others, what ours have.
fn users(field: Field, ours: &mut Ours, report: &mut Report) {
    let mut kept = vec![];
    for (at, item) in items(field.value).into_iter().enumerate() {
        let path = format!("users[{at}]");
        let mark = item.mark;
        match item.value {
            Value::Scalar(s) if s.text == "default" => {}
            Value::Scalar(s) => kept.push(map(mark, vec![named("name", mark, Node::text(mark, s.text))])),
            Value::Map(fields) => {
                let name = fields
                    .iter()
                    .find(|f| f.key == "name")
                    .and_then(|f| text_of(&f.value))
                    .map(str::to_owned);
                let user = one_user(fields, &path, report);
                if name.as_deref().is_some_and(|n| ["default", "skerry", "rancher"].contains(&n)) {
                    for field in user {
                        match field.key.as_str() {
                            "ssh_authorized_keys" => ours.keys.extend(items(field.value)),
                            "password" => ours.skerry("password", field.mark, field.value),
                            _ => {}
                        }
                    }
                } else {
                    kept.push(map(mark, user));
                }
            }
            value => kept.push(Node { mark, value }),
        }
    }
    if !kept.is_empty() {
        let list = Node {
            mark: field.mark,
            value: Value::List(kept),
        };
        ours.top("users", field.mark, list);
    }
}

fn one_user(fields: Vec<Field>, path: &str, report: &mut Report) -> Vec<Field> {
    let is_unlocked = fields
        .iter()
        .any(|f| f.key == "lock_passwd" && matches!(&f.value.value, Value::Scalar(s) if s.kind == Kind::Bool(false)));
    let (mut user, mut keys) = (vec![], vec![]);
    for field in fields {
        let (mark, here) = (field.mark, format!("{path}.{}", field.key));
        match field.key.as_str() {
            "name" | "password" => user.push(field),
            "ssh_authorized_keys" | "ssh-authorized-keys" => keys.extend(items(field.value)),
            "ssh_import_id" => keys.extend(imported(field.value, &here, report)),
            "passwd" | "hashed_passwd" | "plain_text_passwd" if is_unlocked => user.push(named("password", mark, field.value)),
            "passwd" | "hashed_passwd" | "plain_text_passwd" => {
                report.warn(
                    mark,
                    &here,
                    "the account's password is locked",
                    "left out, as by cloud-init",
                    "lock_passwd: false",
                );
            }
            "sudo" => {
                let allowed =
                    !matches!(&field.value.value, Value::Scalar(s) if s.is_null() || s.kind == Kind::Bool(false) || s.text == "False");
                let value = Node {
                    mark: field.value.mark,
                    value: Value::Scalar(crate::scalar::resolve(if allowed { "true" } else { "false" })),
                };
                if text_of(&field.value).is_none_or(|t| !t.contains("NOPASSWD") && t != "true") && allowed {
                    report.note(mark, &here, "sudo asks for no password here", "granted", "");
                }
                user.push(named("sudo", mark, value));
            }
            "lock_passwd" | "lock-passwd" | "shell" | "gecos" | "no_user_group" => {}
            _ => report.unknown(mark, &here, NOTHING, ""),
        }
    }
    if let Some(first) = keys.first().map(|k| k.mark) {
        let list = Node {
            mark: first,
            value: Value::List(keys),
        };
        user.push(named("ssh_authorized_keys", first, list));
    }
    user
}

#[cfg(test)]
mod tests {
    use crate::{Loaded, Source, SourceKind, load};
    use proptest::prelude::*;

    fn seed(kind: SourceKind, text: impl Into<Vec<u8>>) -> Loaded {
        load(&[Source::new(kind, "seed", text)])
    }

    fn said(loaded: &Loaded) -> Vec<String> {
        loaded.problems.iter().map(ToString::to_string).collect()
    }

    const USER_DATA: &str = "\
#cloud-config
hostname: edge
fqdn: edge.example.org
ssh_authorized_keys: [ssh-rsa AAAA one]
ssh_import_id: [gh:me, lp:me]
users:
- default
- name: ann
  sudo: ALL=(ALL) NOPASSWD:ALL
  groups: [wheel]
  shell: /bin/bash
  ssh-authorized-keys: [ssh-rsa AAAA ann]
  passwd: $6$x
- {name: bob, lock_passwd: false, plain_text_passwd: hush, sudo: false}
- {name: skerry, ssh_authorized_keys: [ssh-rsa AAAA two]}
password: console
runcmd:
- echo a; echo b
- [sh, -c, 'echo \"it''s\"']
bootcmd: [date]
write_files:
- {path: /etc/a, content: x, permissions: 0600, append: false, encoding: text/plain}
- {path: /etc/b, content: x, append: true}
ca_certs: {trusted: [\"-----BEGIN CERTIFICATE-----\\nx\\n-----END CERTIFICATE-----\\n\"]}
ntp: {enabled: true, servers: [192.0.2.1], pools: [pool.example.org]}
skerry: {distribution: none}
packages: [vim]
timezone: Europe/Zurich
growpart: {mode: auto}
runcmdd: [x]
";

    #[test]
    fn cloud_config_becomes_ours() {
        let loaded = seed(SourceKind::SeedUserData, USER_DATA);
        let config = &loaded.config;
        assert_eq!(config.hostname.as_deref(), Some("edge"));
        assert_eq!(config.ssh_authorized_keys, ["ssh-rsa AAAA one", "github:me", "ssh-rsa AAAA two"]);
        assert_eq!(config.run_cmd, ["echo a; echo b", "sh -c 'echo \"it'\\''s\"'"]);
        assert_eq!(config.boot_cmd, ["date"]);
        assert_eq!(config.write_files.len(), 1);
        assert_eq!((config.write_files[0].mode(), config.write_files[0].encoding.as_str()), (0o600, ""));
        assert_eq!(config.skerry.ntp_servers, ["192.0.2.1", "pool.example.org"]);
        assert_eq!(config.skerry.password.as_ref().unwrap().0, "console");
        assert_eq!(config.skerry.distribution, crate::Distribution::None);
        assert_eq!(config.users.len(), 2);
        assert!(config.users[0].sudo && config.users[0].password.is_none());
        assert_eq!(config.users[0].ssh_authorized_keys, ["ssh-rsa AAAA ann"]);
        assert!(!config.users[1].sudo);
        assert_eq!(config.users[1].password.as_ref().unwrap().0, "hush");
        let said = said(&loaded).join("\n");
        for words in [
            "packages: a key of cloud-init that means nothing here",
            "timezone: a key of cloud-init",
            "users[1].groups: a key of cloud-init",
            "users[1].passwd: the account's password is locked",
            "write_files[1].append",
            "ssh_import_id: only gh:USER",
            "runcmdd: unknown key, did you mean",
            "fqdn: `hostname` says it too",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains("[0]"), "{said}");
    }

    #[test]
    fn scripts_packed_texts_and_other_forms() {
        let script = seed(SourceKind::SeedUserData, "#!/bin/sh\necho\n");
        assert_eq!(script.config.run_cmd.len(), 1);
        let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
        std::io::Write::write_all(&mut gz, b"#cloud-config\nhostname: packed\n").unwrap();
        assert_eq!(
            seed(SourceKind::SeedUserData, gz.finish().unwrap()).config.hostname.as_deref(),
            Some("packed")
        );
        for form in [
            "Content-Type: multipart/mixed; x\n",
            "#include\nhttp://x\n",
            "## template: jinja\n#cloud-config\n",
            "\u{1f}",
        ] {
            let loaded = seed(SourceKind::SeedUserData, form);
            assert_eq!(loaded.refused, ["seed"], "{form}");
        }
        assert_eq!(seed(SourceKind::SeedUserData, vec![0x1f, 0x8b, 1]).refused, ["seed"]);
        assert!(seed(SourceKind::SeedUserData, "#cloud-config\n").problems.is_empty());
    }

    #[test]
    fn meta_data_gives_a_name_and_keys() {
        for keys in [
            "public-keys: [ssh-rsa AAAA a]",
            "public-keys: ssh-rsa AAAA a",
            "public-keys: {me: ssh-rsa AAAA a}",
            "public-keys: {me: {openssh-key: ssh-rsa AAAA a}}",
            "public-keys: {'0': [ssh-rsa AAAA a]}",
        ] {
            let loaded = seed(
                SourceKind::SeedMetaData,
                format!("instance-id: i-1\nlocal-hostname: edge\n{keys}\n"),
            );
            assert_eq!(loaded.config.hostname.as_deref(), Some("edge"));
            assert_eq!(loaded.config.ssh_authorized_keys, ["ssh-rsa AAAA a"], "{keys}");
        }
        let loaded = seed(SourceKind::SeedMetaData, "{instance-id: x, network-interfaces: y, zone: z}\n");
        let said = said(&loaded);
        assert_eq!(said.len(), 3, "{said:?}");
        // JSON is YAML; and a seed without metadata has an empty file.
        assert!(seed(SourceKind::SeedMetaData, "").problems.is_empty());
    }

    #[test]
    fn network_config_is_netplans() {
        let inner = "ethernets: {nic: {match: {macaddress: '52:54:00:12:34:56'}, set-name: eth0, addresses: [192.0.2.5/24]}}\n";
        for text in [format!("version: 2\n{inner}"), format!("network:\n  version: 2\n  {inner}")] {
            let loaded = seed(SourceKind::SeedNetwork, text);
            let network = loaded.config.network.as_ref().unwrap();
            assert_eq!(network.ethernets["nic"].addresses, ["192.0.2.5/24"]);
            assert!(said(&loaded)[0].contains("set-name: not in this version"), "{:?}", said(&loaded));
        }
        for text in ["version: 1\nconfig: []\n", "config: disabled\n"] {
            let loaded = seed(SourceKind::SeedNetwork, text);
            assert!(
                loaded.config.network.is_none() && said(&loaded)[0].contains("only version 2"),
                "{:?}",
                said(&loaded)
            );
        }
    }

    #[test]
    fn a_seed_is_stronger_than_the_esp_and_weaker_than_a_stick() {
        let all = [
            Source::new(SourceKind::Medium, "stick", "hostname: stick\n"),
            Source::new(SourceKind::SeedUserData, "user", "#cloud-config\nhostname: user\nrun_cmd: [user]\n"),
            Source::new(
                SourceKind::SeedMetaData,
                "meta",
                "local-hostname: meta\npublic-keys: [ssh-rsa AAAA meta]\n",
            ),
            Source::new(SourceKind::Esp, "esp", "hostname: esp\nrun_cmd: [esp]\n"),
        ];
        let config = load(&crate::order(all.to_vec())).config;
        assert_eq!(config.hostname.as_deref(), Some("stick"));
        assert_eq!(
            (config.run_cmd, config.ssh_authorized_keys),
            (vec!["user".to_owned()], vec!["ssh-rsa AAAA meta".to_owned()])
        );
    }

    proptest! {
        #[test]
        fn any_seed_is_read(text in "(#cloud-config\n)?[-a-z:{}\\[\\]'\n ]{0,120}", pieces in proptest::collection::vec(0usize..12, 0..12)) {
            const PIECES: [&str; 12] = ["users: ", "- ", "default\n", "ntp: ", "{servers: x}\n", "runcmd: ", "[[a, b]]\n", "ca_certs: ",
                "{trusted: y}\n", "write_files: [{append: yes}]\n", "public-keys: ", "network: {version: 2}\n"];
            let built: String = pieces.iter().filter_map(|at| PIECES.get(*at).copied()).collect();
            for text in [text, built] {
                for kind in [SourceKind::SeedUserData, SourceKind::SeedMetaData, SourceKind::SeedNetwork] {
                    let _ = seed(kind, text.as_str());
                }
            }
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for kind in [SourceKind::SeedUserData, SourceKind::SeedMetaData, SourceKind::SeedNetwork] {
                let _ = seed(kind, bytes.clone());
            }
        }
    }
}
