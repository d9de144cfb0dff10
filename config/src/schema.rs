//! Every key: its spellings, its shape, which phase it takes effect in and how. The one table that reading, explaining and the
//! reference page work from.

mod network;

use crate::Phase;
use crate::check::{self, Check};

/// One key.
pub(crate) struct Key {
    /// Its name here: what `dump` writes, what the types call it.
    pub name: &'static str,
    /// Its name in k3OS's own JSON (and on disks that k3OS's installer wrote); compared without case.
    pub camel: &'static str,
    /// Further spellings, compared with case.
    pub spellings: &'static [&'static str],
    pub shape: Shape,
    pub secret: bool,
    pub phases: &'static [Phase],
    pub effect: &'static str,
    /// The key of a section that a text in the section's place stands for. Such a text says that the other keys are not set.
    pub short: Option<&'static str>,
    pub check: Check,
}

/// What stands behind a key.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Text,
    Bool,
    Number,
    /// A list of texts.
    Texts,
    /// A map of texts; replaced as a whole by a later source.
    TextMap,
    /// A section; merges key by key.
    Section(&'static [Key]),
    /// A list of sections; replaced as a whole.
    Sections(&'static [Key]),
    /// Sections by names of the owner's choice; merges by name.
    Named(&'static [Key]),
}

impl Key {
    /// Whether this is how the key may be written.
    pub fn is_spelled(&self, text: &str) -> bool {
        self.name == text || self.camel.eq_ignore_ascii_case(text) || self.spellings.contains(&text)
    }

    /// All spellings, the first one is the one to write.
    pub fn all_spellings(&self) -> impl Iterator<Item = &'static str> {
        let camel = (self.camel != self.name).then_some(self.camel);
        std::iter::once(self.name).chain(camel).chain(self.spellings.iter().copied())
    }
}

/// The key that a text spells.
pub(crate) fn find<'a>(keys: &'a [Key], text: &str) -> Option<&'a Key> {
    keys.iter().find(|key| key.is_spelled(text))
}

const fn key(name: &'static str, camel: &'static str, spellings: &'static [&'static str], shape: Shape) -> Key {
    Key {
        name,
        camel,
        spellings,
        shape,
        secret: false,
        phases: &[],
        effect: "",
        short: None,
        check: Check::None,
    }
}

impl Key {
    const fn on(mut self, phases: &'static [Phase], effect: &'static str) -> Self {
        self.phases = phases;
        self.effect = effect;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn short(mut self, name: &'static str) -> Self {
        self.short = Some(name);
        self
    }

    const fn checked(mut self, check: Check) -> Self {
        self.check = check;
        self
    }
}

use Phase::{Boot, Init, Kubernetes, Network, Runtime};
use Shape::{Bool, Section, Sections, Text, TextMap, Texts};

/// The top level.
pub(crate) const TOP: &[Key] = &[
    key(
        "ssh_authorized_keys",
        "sshAuthorizedKeys",
        &["ssh_authorized_key", "sshauthorizedkeys", "sshauthorizedkey"],
        Texts,
    )
    .on(
        &[Boot, Runtime],
        "written to ~skerry/.ssh/authorized_keys: literal keys before the network, fetched ones with it",
    )
    .checked(Check::Text(check::ssh_key)),
    key(
        "write_files",
        "writeFiles",
        &["write_file", "writefiles", "writefile", "write_fil", "writefil"],
        Sections(WRITE_FILE),
    )
    .on(&[Boot, Runtime], "written before boot_cmd, and once more before run_cmd")
    .checked(Check::Element(check::write_file)),
    key("hostname", "hostname", &[], Text)
        .on(&[Boot], "set as the host name, also in /etc/hostname and /etc/hosts")
        .checked(Check::Text(check::hostname)),
    key("init_cmd", "initCmd", &["initcmd"], Texts)
        .on(&[Init], "run by sh -c before anything else is set up")
        .checked(Check::Text(check::command)),
    key("boot_cmd", "bootCmd", &["bootcmd"], Texts)
        .on(&[Boot], "run by sh -c before the network")
        .checked(Check::Text(check::command)),
    key("run_cmd", "runCmd", &["runcmd"], Texts)
        .on(&[Runtime], "run by sh -c with the network up, before Kubernetes")
        .checked(Check::Text(check::command)),
    key("skerry", "skerry", &[], Section(SKERRY)),
    key("network", "network", &[], Section(network::NETWORK))
        .on(&[Network], "carried out by netd")
        .checked(Check::Element(check::network)),
    key("users", "users", &["user"], Sections(USER))
        .on(&[Boot], "made a login user")
        .checked(Check::Element(check::user)),
    key("ca_certs", "caCerts", &["ca_cert"], Texts)
        .on(&[Boot], "added to the certificates that the machine trusts")
        .checked(Check::Text(check::certificate)),
];

/// The other name of the section `skerry`.
pub(crate) const K3OS: Key = key("k3os", "k3os", &["k3o"], Section(SKERRY));

/// The section `skerry:`.
pub(crate) const SKERRY: &[Key] = &[
    key(
        "data_sources",
        "dataSources",
        &["data_source", "datasources", "datasource", "data_sourc", "datasourc"],
        Texts,
    )
    .on(
        &[Network],
        "asked for metadata and user data once the network is up; what they say is then read as configuration",
    )
    .checked(Check::Text(check::data_source)),
    key("modules", "modules", &["module", "modul"], Texts)
        .on(&[Boot, Runtime], "loaded into the kernel")
        .checked(Check::Text(check::module)),
    key("sysctls", "sysctls", &["sysctl"], TextMap)
        .on(&[Boot, Runtime], "written below /proc/sys")
        .checked(Check::Pair(check::sysctl)),
    key("ntp_servers", "ntpServers", &["ntp_server", "ntpservers", "ntpserver"], Texts)
        .on(&[Network], "asked for the time by chrony, besides those that DHCP names")
        .checked(Check::Text(check::host)),
    key(
        "dns_nameservers",
        "dnsNameservers",
        &["dns_nameserver", "dnsnameservers", "dnsnameserver"],
        Texts,
    )
    .on(&[Network], "used when neither DHCP nor network: names any")
    .checked(Check::Text(check::ip)),
    key("wifi", "wifi", &[], Sections(WIFI))
        .on(
            &[Network],
            "joined, the first one of those in range, by any radio that network.wifis does not name",
        )
        .checked(Check::Element(check::wifi)),
    key("password", "password", &[], Text)
        .secret()
        .on(&[Boot], "set for skerry at consoles")
        .checked(Check::Text(check::password)),
    key("server_url", "serverUrl", &["serverurl"], Text)
        .on(&[Kubernetes], "the server whose cluster is joined")
        .checked(Check::Text(check::server_url)),
    key("token", "token", &[], Text)
        .secret()
        .on(&[Kubernetes], "the cluster's secret")
        .checked(Check::Text(check::token)),
    key("labels", "labels", &["label"], TextMap)
        .on(&[Kubernetes], "labels of the node")
        .checked(Check::Pair(check::label)),
    key("taints", "taints", &["taint"], Texts)
        .on(&[Kubernetes], "taints of the node, when it registers")
        .checked(Check::Text(check::taint)),
    key("k3s_args", "k3sArgs", &["k3s_arg", "k3sargs", "k3sarg"], Texts)
        .on(&[Kubernetes], "translated for the distribution, flag by flag")
        .checked(Check::Text(check::argument)),
    key("environment", "environment", &[], TextMap)
        .on(
            &[Boot, Runtime, Kubernetes],
            "written to /etc/environment, and set for downloads, the container runtime and the distribution",
        )
        .checked(Check::Pair(check::environment)),
    key("install", "install", &[], Section(INSTALL)).on(&[], "for the installer: what a machine does that is started to install"),
    key("distribution", "distribution", &[], Section(DISTRIBUTION))
        .on(&[Kubernetes], "which Kubernetes runs, and where its program comes from")
        .short("name"),
    key("swap", "swap", &["swap_size"], Text)
        .on(
            &[Boot, Kubernetes],
            "a file of this size on the data partition, and kubelet lets pods use their part of it",
        )
        .checked(Check::Text(check::swap)),
    key("trust_media", "trustMedia", &[], Bool).on(&[Boot], "whether a removable medium may bring configuration"),
    key("firewall", "firewall", &[], Bool).on(&[Network], "whether netd closes the system's own ports to the outside"),
    key("open_ports", "openPorts", &["open_port"], Texts)
        .on(&[Network], "left open by the firewall")
        .checked(Check::Text(check::ports)),
];

/// The section `skerry.distribution:`.
pub(crate) const DISTRIBUTION: &[Key] = &[
    key("name", "name", &[], Text).checked(Check::Text(check::distribution)),
    key("path", "path", &[], Text).checked(Check::Text(check::program)),
    key("version", "version", &[], Text).checked(Check::Text(check::version)),
    key("url", "url", &[], Text).checked(Check::Text(check::program_url)),
    key("sha256", "sha256", &[], Text).checked(Check::Text(check::sha256)),
];

const WRITE_FILE: &[Key] = &[
    key("encoding", "encoding", &[], Text),
    key("content", "content", &[], Text),
    key("owner", "owner", &[], Text).checked(Check::Text(check::owner)),
    key("path", "path", &[], Text).checked(Check::Text(check::path)),
    key("permissions", "permissions", &["permission"], Text),
];

const WIFI: &[Key] = &[
    key("name", "name", &[], Text),
    key("passphrase", "passphrase", &["pass", "password"], Text).secret(),
];

const INSTALL: &[Key] = &[
    key("force_efi", "forceEfi", &[], Bool),
    key("device", "device", &[], Text),
    key("config_url", "configUrl", &[], Text),
    key("silent", "silent", &[], Bool),
    key("iso_url", "isoUrl", &[], Text),
    key("power_off", "powerOff", &[], Bool),
    key("no_format", "noFormat", &[], Bool),
    key("debug", "debug", &[], Bool),
    key("tty", "tty", &[], Text),
];

const USER: &[Key] = &[
    key("name", "name", &[], Text).checked(Check::Text(check::user_name)),
    key(
        "ssh_authorized_keys",
        "sshAuthorizedKeys",
        &["ssh_authorized_key", "ssh-authorized-keys"],
        Texts,
    )
    .checked(Check::Text(check::ssh_key)),
    key("password", "password", &["passwd"], Text)
        .secret()
        .checked(Check::Text(check::password)),
    key("sudo", "sudo", &[], Bool),
];

/// Words below `k3os.` and `skerry.` on the kernel's command line that others read.
pub(crate) const BOOT_WORDS: &[&str] = &[
    "mode",
    "fallback_mode",
    "debug",
    "root",
    "roothash",
    "hashoff",
    "boot",
    "slot",
    "why",
    "live",
    "medium",
    "rescue",
    "test",
];

/// Whether netplan knows this key and this release does not.
pub(crate) fn network_not_yet(key: &str) -> bool {
    network::NOT_YET.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// k3OS's rule: the name; without `s`, without `es`; each of these lower-cased, in snake case, or both.
    fn k3os_spellings(camel: &str) -> Vec<String> {
        let mut names = vec![camel.to_owned()];
        names.extend(camel.strip_suffix('s').map(str::to_owned));
        names.extend(camel.strip_suffix("es").map(str::to_owned));
        let snake = |name: &str| {
            let mut text = String::new();
            for letter in name.chars() {
                if letter.is_ascii_uppercase() {
                    text.push('_');
                }
                text.push(letter.to_ascii_lowercase());
            }
            text
        };
        names.iter().flat_map(|name| [name.to_ascii_lowercase(), snake(name)]).collect()
    }

    #[test]
    fn every_spelling_that_k3os_took_is_taken() {
        let k3os = SKERRY
            .iter()
            .filter(|key| !["distribution", "swap", "trust_media", "firewall", "open_ports"].contains(&key.name));
        let top = TOP
            .iter()
            .filter(|key| !["skerry", "network", "users", "ca_certs"].contains(&key.name));
        for key in k3os.chain(top).chain(WRITE_FILE).chain(WIFI).chain(INSTALL).chain([&K3OS]) {
            for spelling in k3os_spellings(key.camel) {
                assert!(key.is_spelled(&spelling), "{}: {spelling}", key.name);
            }
        }
    }

    #[test]
    fn spellings_are_unambiguous() {
        for keys in [
            TOP,
            SKERRY,
            DISTRIBUTION,
            WRITE_FILE,
            WIFI,
            INSTALL,
            USER,
            network::NETWORK,
            network::INTERFACE,
        ] {
            for key in keys {
                for spelling in key.all_spellings() {
                    assert_eq!(keys.iter().filter(|key| key.is_spelled(spelling)).count(), 1, "{spelling}");
                }
            }
        }
    }
}
