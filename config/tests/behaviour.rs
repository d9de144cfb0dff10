//! What `load` makes of what owners write, case by case.

use skerry_config::{Config, Loaded, Problem, Severity, Source, SourceKind, load};

fn one(text: &str) -> Loaded {
    load(&[Source::new(SourceKind::System, "config.yaml", text)])
}

fn two(first: &str, second: &str) -> Config {
    load(&[
        Source::new(SourceKind::System, "1", first),
        Source::new(SourceKind::Local, "2", second),
    ])
    .config
}

fn cmdline(text: &str) -> Loaded {
    load(&[Source::new(SourceKind::Cmdline, "cmdline", text)])
}

fn find<'a>(loaded: &'a Loaded, path: &str) -> &'a Problem {
    loaded
        .problems
        .iter()
        .find(|problem| problem.path == path)
        .unwrap_or_else(|| panic!("{path}: {:?}", loaded.problems))
}

#[test]
fn both_names_of_the_section_in_one_document_are_an_error_that_says_so() {
    let loaded = one("skerry: {token: 0123456789abcdef}\nk3os: {password: x}\n");
    let problem = find(&loaded, "k3os");
    assert!(problem.severity == Severity::Error && problem.what.contains("two names of one section"));
    assert!(loaded.config.skerry.token.is_some() && loaded.config.skerry.password.is_none());
    // A command line has both: `skerry.root=` comes from the boot loader.
    assert_eq!(cmdline("skerry.root=/dev/vda k3os.labels.a=b").config.skerry.labels["a"], "b");
}

#[test]
fn later_sources_replace_lists_and_maps_and_merge_sections() {
    let config = two(
        "k3os: {labels: {a: b}, modules: [x], install: {device: /dev/vda}}",
        "k3os: {labels: {c: d}, install: {silent: true}}",
    );
    assert_eq!(config.skerry.labels.keys().collect::<Vec<_>>(), ["c"]);
    assert_eq!(config.skerry.modules, ["x"]);
    assert!(config.skerry.install.silent && config.skerry.install.device.as_deref() == Some("/dev/vda"));
}

#[test]
fn an_explicit_nothing_clears() {
    for nothing in ["", "[]", "~", "''"] {
        assert_eq!(two("run_cmd: [a]", &format!("run_cmd: {nothing}")).run_cmd, [""; 0], "{nothing}");
        assert_eq!(
            two(
                "hostname: a",
                &format!("hostname: {}", if nothing == "[]" { "''" } else { nothing })
            )
            .hostname,
            None
        );
    }
    assert!(two("k3os: {labels: {a: b}}", "k3os: {labels: {}}").skerry.labels.is_empty());
    // What is wrong does not clear.
    assert_eq!(two("run_cmd: [a]", "run_cmd: {a: b}").run_cmd, ["a"]);
    assert_eq!(two("run_cmd: [a]", "run_cmd: [[b]]").run_cmd, ["a"]);
}

#[test]
fn a_later_spelling_wins_over_an_earlier_one_in_another_file() {
    let config = two("k3os: {serverurl: 'https://a'}", "k3os: {server_url: 'https://b'}");
    assert_eq!(config.skerry.server_url.as_deref(), Some("https://b"));
}

#[test]
fn the_commands_of_a_script_as_user_data() {
    for (bytes, encoding) in [(&b"#!/bin/sh\necho hi\n"[..], ""), (&b"a\0b"[..], "b64")] {
        let config = load(&[Source::new(SourceKind::UserData, "userdata", bytes)]).config;
        assert_eq!(config.run_cmd, ["source /run/k3os/userdata"]);
        assert_eq!(config.write_files[0].encoding, encoding);
        assert_eq!(config.write_files[0].decoded().unwrap(), bytes);
        assert_eq!(config.write_files[0].mode(), 0o700);
    }
    let config = load(&[Source::new(SourceKind::UserData, "userdata", "#cloud-config\nhostname: h\n")]).config;
    assert_eq!(config.hostname.as_deref(), Some("h"));
}

#[test]
fn metadata_is_a_name_and_keys() {
    let config = load(&[
        Source::new(SourceKind::MetadataHostname, "local_hostname", "node-1\n"),
        Source::new(SourceKind::MetadataKeys, "authorized_keys", "ssh-rsa A a\n\nssh-rsa B b\n"),
    ])
    .config;
    assert_eq!(config.hostname.as_deref(), Some("node-1"));
    assert_eq!(config.ssh_authorized_keys, ["ssh-rsa A a", "ssh-rsa B b"]);
}

#[test]
fn a_secret_on_the_command_line_is_warned_of() {
    let loaded = cmdline("k3os.token=0123456789abcdef");
    assert!(find(&loaded, "k3os.token").what.contains("every pod can read"));
    assert!(loaded.explain.iter().all(|entry| entry.shown() == "***"));
}

#[test]
fn words_of_the_boot_loader_are_nobodys_business() {
    let text = "BOOT_IMAGE=/vmlinuz console=ttyS0,115200 quiet k3os.mode=disk skerry.roothash=00 k3os.debug rescue";
    assert_eq!(cmdline(text).problems, []);
    assert_eq!(find(&cmdline("k3os.hostnam=x"), "k3os.hostnam").severity, Severity::Warning);
}

#[test]
fn dotted_kernel_parameters_work_on_the_command_line() {
    let sysctls = cmdline("k3os.sysctl.kernel.printk=4 k3os.sysctls[net.ipv4.ip_forward]=1")
        .config
        .skerry
        .sysctls;
    // Two spellings of one key: the last in byte order counts.
    assert_eq!(sysctls.keys().collect::<Vec<_>>(), ["net.ipv4.ip_forward"]);
    assert_eq!(cmdline("k3os.sysctl.kernel.printk=4").config.skerry.sysctls["kernel.printk"], "4");
}

#[test]
fn problems_say_where_and_what_to_write() {
    let loaded = one("hostnam: x\nssh_authorized_keys: [ssh-rsa A a]\nk3os:\n  run_cmd: [a]\n  labels: {'a b': c}\n");
    let problem = find(&loaded, "hostnam");
    assert_eq!(
        (problem.origin.line, problem.origin.column, problem.write_instead.as_str()),
        (1, 1, "hostname:")
    );
    assert!(problem.drops && problem.severity == Severity::Warning);
    assert!(find(&loaded, "k3os.run_cmd").write_instead.contains("top level"));
    assert_eq!(find(&loaded, "k3os.labels[a b]").origin.line, 5);
    let text = find(&loaded, "hostnam").to_string();
    assert_eq!(
        text,
        "config.yaml:1:1: warning: hostnam: unknown key, did you mean `hostname`?; ignored\n    write: hostname:"
    );
}

#[test]
fn a_network_with_a_typing_error_does_not_cut_the_machine_off() {
    let text = "network: {version: 2, ethernets: {eth0: {addresses: [10.0.0.5], gateway4: 10.0.0.1}}}";
    let network = one(text).config.network.expect("kept");
    assert!(network.ethernets["eth0"].dhcp4);
    assert_eq!(one("network: {version: 2, ethernet: {eth0: {dhcp4: true}}}").config.network, None);
    assert_eq!(one("network: {version: 1, config: []}").config.network, None);
    let bonds = one("network: {version: 2, bonds: {bond0: {interfaces: [eth0], dhcp4: true}}}");
    assert_eq!(bonds.problems, []);
    let bonds = bonds.config.network.expect("kept");
    assert!(bonds.ethernets.is_empty() && bonds.bonds["bond0"].dhcp4);
    let vlan = one("network: {version: 2, vlans: {lan: {id: 10}}}");
    assert_eq!(vlan.config.network, None, "a VLAN on nothing is none: {:?}", vlan.problems);
    let wifi = one("network: {version: 2, wifis: {wlan0: {dhcp4: true}}}")
        .config
        .network
        .expect("kept");
    assert!(wifi.ethernets.values().all(|interface| interface.dhcp4 && interface.optional) && !wifi.ethernets.is_empty());
    let quiet = one("network: {version: 2, ethernets: {eth0: {dhcp4: false}}}")
        .config
        .network
        .expect("as asked");
    assert!(!quiet.ethernets["eth0"].dhcp4);
}

#[test]
fn what_is_not_in_effect_yet_is_answered() {
    let loaded = one("k3os: {install: {silent: true}}\nnetwork: {version: 2, ethernets: {eth0: {wakeonlan: true, dhcp4: true}}}");
    let problem = find(&loaded, "network.ethernets.eth0.wakeonlan");
    assert!(problem.what.contains("not in this version"), "{problem}");
    assert_eq!(loaded.problems.len(), 1, "the rest takes effect: {:?}", loaded.problems);
    assert!(loaded.config.skerry.install.silent);
}

#[test]
fn wifi_networks_are_those_that_the_standard_allows() {
    let loaded = one("k3os: {wifi: [{name: home, passphrase: short}, {name: quay, passphrase: long enough}, {name: open}]}");
    let names: Vec<&str> = loaded.config.skerry.wifi.iter().map(|wifi| wifi.name.as_str()).collect();
    assert_eq!(names, ["home", "quay", "open"], "kept, for it is a secret all the same");
    assert!(find(&loaded, "k3os.wifi[0]").what.contains("8 to 63"), "{:?}", loaded.problems);
    let text = "network: {version: 2, wifis: {wlan0: {dhcp4: true, regulatory-domain: DE, access-points: {quay: {password: long enough, \
                priority: 5}, dock: {password: ÜberÜber}, yard: {}}}}}";
    let loaded = one(text);
    let wlan = &loaded.config.network.as_ref().expect("kept").wifis["wlan0"];
    assert_eq!(
        (wlan.access_points["quay"].priority, wlan.regulatory_domain.as_deref()),
        (5, Some("DE"))
    );
    assert!(
        find(&loaded, "network.wifis.wlan0.access-points.dock").what.contains("8 to 63"),
        "{:?}",
        loaded.problems
    );
    assert_eq!(loaded.problems.len(), 1, "{:?}", loaded.problems);
    let long = "n".repeat(33);
    let loaded = one(&format!(
        "network: {{version: 2, wifis: {{wlan0: {{dhcp4: true, access-points: {{{long}: {{}}, yard: {{}}}}}}}}}}"
    ));
    let wlan = &loaded.config.network.as_ref().expect("kept").wifis["wlan0"];
    assert_eq!(wlan.access_points.keys().collect::<Vec<_>>(), ["yard"]);
    let loaded = one("network: {version: 2, wifis: {wlan0: {dhcp4: true, regulatory-domain: Germany, access-points: {a: {}}}}}");
    assert!(find(&loaded, "network.wifis.wlan0.regulatory-domain").what.contains("two capital"));
}

#[test]
fn text_that_is_not_utf8_costs_the_values_that_hold_it() {
    let loaded = load(&[Source::new(SourceKind::System, "c", &b"hostname: h\nk3os:\n  token: \xff\n"[..])]);
    assert_eq!(loaded.config.hostname.as_deref(), Some("h"));
    assert!(loaded.config.skerry.token.is_none() && loaded.problems.iter().any(|problem| problem.drops));
    let loaded = load(&[Source::new(SourceKind::System, "c", &b"\xff\xfeh\0"[..])]);
    assert!(loaded.problems[0].what.contains("UTF-16"));
    assert_eq!(one("\u{feff}hostname: h\r\n").config.hostname.as_deref(), Some("h"));
}

#[test]
fn a_syntax_error_costs_its_key_only() {
    let loaded =
        one("hostname: \"h\nk3os:\n  token: 0123456789abcdef\n  labels: {a: b\n  password: x\nssh_authorized_keys: [ssh-rsa A a]\n");
    assert_eq!(loaded.config.ssh_authorized_keys.len(), 1);
    assert!(loaded.config.skerry.token.is_some() && loaded.config.skerry.password.is_some());
    assert_eq!(
        loaded.problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(),
        ["hostname", "k3os.labels"]
    );
}

#[test]
fn binary_contents_reach_the_file() {
    let config = one("write_files:\n- path: /a\n  content: !!binary /wD+\n").config;
    assert_eq!(config.write_files[0].decoded().unwrap(), [0xff, 0, 0xfe]);
}

#[test]
fn devices_that_are_made_are_checked() {
    let text = "network:
  version: 2
  ethernets: {eth0: {}, eth1: {match: {macaddress: '52:54:00:00:00:02'}}}
  bonds:
    bond0: {interfaces: [eth0, eth1], parameters: {mode: active-backup, mii-monitor-interval: 100, primary: eth1}}
  vlans: {lan: {id: 10, link: bond0, dhcp4: true, dhcp4-overrides: {use-dns: false, route-metric: 50}}}
  bridges: {br0: {interfaces: [lan], parameters: {stp: false, forward-delay: 4}}}
  vrfs: {blue: {table: 7, interfaces: [br0], routes: [{to: default, via: 10.1.0.1}]}}
";
    let loaded = one(text);
    assert_eq!(loaded.problems, []);
    let network = loaded.config.network.expect("kept");
    assert_eq!(network.bonds["bond0"].parameters["mii-monitor-interval"], "100");
    assert_eq!(network.bridges["br0"].parameters["stp"], "false");
    assert_eq!(network.vlans["lan"].dhcp4_overrides.use_dns, Some(false));
    assert_eq!(network.vrfs["blue"].table, Some(7));
    // What `dump` writes means the same.
    let yaml = one(text).config.to_yaml().unwrap();
    assert_eq!(one(&yaml).config.network.as_ref(), Some(&network), "{yaml}");
    for (text, path) in [
        ("bonds: {bond0: {}}", "network.bonds.bond0"),
        ("vlans: {lan: {id: 5000, link: eth0}}", "network.vlans.lan"),
        ("vrfs: {blue: {interfaces: [eth0]}}", "network.vrfs.blue"),
        ("bridges: {a-name-that-is-too-long: {}}", "network.bridges.a-name-that-is-too-long"),
        (
            "bonds: {b: {interfaces: [eth0], parameters: {mode: trunk}}}",
            "network.bonds.b.parameters.mode",
        ),
        (
            "bonds: {b: {interfaces: [eth0], parameters: {miimon: 100}}}",
            "network.bonds.b.parameters.miimon",
        ),
        (
            "ethernets: {eth0: {routing-policy: [{from: 10.0.0.0/8}]}}",
            "network.ethernets.eth0.routing-policy[0]",
        ),
        (
            "ethernets: {eth0: {routing-policy: [{table: 5}]}}",
            "network.ethernets.eth0.routing-policy[0]",
        ),
        (
            "ethernets: {eth0: {routing-policy: [{table: 5, from: 10.0.0.1, to: 'fd00::/8'}]}}",
            "network.ethernets.eth0.routing-policy[0]",
        ),
    ] {
        let loaded = one(&format!("network: {{version: 2, {text}}}"));
        assert!(
            loaded.problems.iter().any(|p| p.path == path && p.drops),
            "{text}: {:?}",
            loaded.problems
        );
    }
}
