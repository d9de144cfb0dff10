//! The units of one boot: what runs, and what waits for what.

use crate::facts::{Facts, GUEST_PORT};
use crate::{asked, authorized, metadata};
use serde_json::json;
use skerry_config::types::Config;
use skerry_control::unit::{Kind, Ready, Scope, Unit};
use std::time::Duration;

const SETUP: &str = "/usr/lib/skerry/setup";
/// Written by `apply boot`; read by what may need a proxy.
const ENVIRONMENT: &str = "/etc/environment";
/// How long the owner's commands may take before they are ended and named.
const COMMANDS: Duration = Duration::from_secs(15 * 60);

/// The mode of a machine that was started to install onto a disk.
pub const INSTALL: &str = "install";

/// Everything for PID 1 to run, in the order a person would tell it. The order has no other meaning: `after` decides.
pub fn units(config: &Config, facts: &Facts, distribution: &skerry_distribution::Plan) -> Vec<Unit> {
    let mut units = settings(config);
    units.extend(services(config));
    units.extend(wifi(config, facts));
    units.extend(facts.guest_port.then(guest_agent));
    if !facts.metadata.is_empty() {
        // User data may bring another request: PID 1 restarts what has changed.
        let asked = asked::digest(&asked::request(config, distribution));
        let netd = units.iter_mut().filter(|u| u.name == "netd");
        netd.for_each(|netd| netd.env.push(("SKERRY_NETWORK".to_owned(), asked.clone())));
        units.extend(cloud(facts));
    }
    if facts.metadata == metadata::PENDING {
        // Its role, its commands and its name may still come: nothing of that is begun. Who has a key can log in.
        units.extend(facts.consoles.iter().map(|tty| getty(tty)));
        return units;
    }
    if facts.mode == INSTALL {
        units.extend(installation(config, facts));
        units.extend(owners_last_words(config));
        units.extend(reports(facts, None));
        return units;
    }
    units.extend(facts.consoles.iter().map(|tty| getty(tty)));
    let mut last = owners_last_words(config);
    if facts.metadata == metadata::OVER {
        let first = last.iter_mut().filter(|u| u.name == "apply-runtime");
        first.for_each(|u| u.after.push("apply-metadata".to_owned()));
    }
    units.extend(last);
    units.extend(distribution.units.iter().cloned());
    units.extend(reports(facts, distribution.ready.as_deref()));
    units
}

/// A cloud's metadata, and the settings once more when it is known.
fn cloud(facts: &Facts) -> Vec<Unit> {
    let ask = Unit {
        kind: Kind::OneShot { retry: true, every: None },
        // Twice its own limit: what it asks ends by itself.
        deadline: Some(metadata::LIMIT * 2),
        ..helper("metadata", "Metadata of the cloud", &["metadata"]).after(&["apply-boot", "netd"])
    };
    let again = Unit {
        deadline: Some(Duration::from_secs(120)),
        ..helper("apply-metadata", "Settings, with metadata", &["apply", "boot"]).after(&["metadata"])
    };
    let mut units = vec![ask];
    units.extend((facts.metadata == metadata::OVER).then_some(again));
    units
}

/// Instead of Kubernetes: the installation that the configuration asks for, or the questions, where a login would be.
fn installation(config: &Config, facts: &Facts) -> Vec<Unit> {
    let keys = &config.skerry.install;
    if !keys.silent && !facts.consoles.is_empty() {
        return facts.consoles.iter().map(|tty| questions(tty)).collect();
    }
    let mut install = Unit::one_shot("install", "Installation", &["/usr/bin/skerry", "install", "--unattended"]).after(&[
        "coldplug",
        "udev-trigger",
        "netd",
        "apply-runtime",
        "run-cmd",
    ]);
    // A disk is as slow as it is.
    install.deadline = None;
    install.env_file = Some(ENVIRONMENT.to_owned());
    let mut units: Vec<Unit> = facts.consoles.iter().map(|tty| getty(tty)).collect();
    units.push(install);
    units
}

/// The installer's questions on a console. They give a login too, and come again when that ends.
fn questions(tty: &str) -> Unit {
    Unit {
        argv: ["/usr/bin/skerry", "install", "--console"].map(str::to_owned).to_vec(),
        title: format!("Installer on {tty}"),
        env_file: Some(ENVIRONMENT.to_owned()),
        ..getty(tty)
    }
    .after(&["coldplug"])
}

/// What makes the machine the owner's, before anything that could be seen from outside.
fn settings(config: &Config) -> Vec<Unit> {
    let mut units = vec![];
    units.extend(commands("init", "Commands of init_cmd", &config.init_cmd, &[]));
    units.push(quiet(Unit {
        deadline: Some(Duration::from_secs(60)),
        ..helper("apply-network", "Settings that the network is set up with", &["apply", "network"]).after(&["init-cmd"])
    }));
    units.push(Unit {
        deadline: Some(Duration::from_secs(120)),
        ..helper("apply-boot", "Settings", &["apply", "boot"]).after(&["init-cmd"])
    });
    units.extend(commands(
        "boot",
        "Commands of boot_cmd",
        &config.boot_cmd,
        &["apply-network", "apply-boot"],
    ));
    units
}

/// What udevd is told of: all but the devices whose driver `coldplug` has loaded and that have neither node nor link.
const UDEV_TRIGGER: [&str; 16] = [
    "/usr/bin/udevadm",
    "trigger",
    "--action=add",
    "--subsystem-nomatch=acpi",
    "--subsystem-nomatch=clockevents",
    "--subsystem-nomatch=clocksource",
    "--subsystem-nomatch=container",
    "--subsystem-nomatch=cpu",
    "--subsystem-nomatch=event_source",
    "--subsystem-nomatch=machinecheck",
    "--subsystem-nomatch=memory",
    "--subsystem-nomatch=module",
    "--subsystem-nomatch=pci",
    "--subsystem-nomatch=platform",
    "--subsystem-nomatch=vtconsole",
    "--subsystem-nomatch=workqueue",
];

/// What runs beside Kubernetes, or without it.
fn services(config: &Config) -> Vec<Unit> {
    let mut sshd = Unit::service("sshd", "Login by SSH", &["/usr/sbin/sshd", "-D", "-e"]).after(&["host-keys", "apply-boot", "boot-cmd"]);
    sshd.ready = Ready::Notify;
    sshd.deadline = Some(Duration::from_secs(30));
    // Who is logged in stays logged in when it is restarted.
    sshd.stop.scope = Scope::MainOnly;
    let mut units = vec![
        Unit {
            ready: Ready::Notify,
            deadline: Some(Duration::from_secs(40)),
            // The users and files of `apply-boot` are none of its business, so it does not wait for them.
            ..Unit::service("netd", "Network", &["/usr/lib/skerry/netd"]).after(&["apply-network", "boot-cmd"])
        },
        sshd,
        // Links by id and permissions of devices. Nothing waits for it.
        aside(Unit {
            ready: Ready::Notify,
            ..Unit::service("udevd", "Device links", &["/usr/lib/systemd/systemd-udevd"]).after(&["apply-boot"])
        }),
        aside(helper("coldplug", "Drivers for the hardware found", &["coldplug"]).after(&["apply-boot"])),
        aside(Unit::one_shot("udev-trigger", "Devices found before udevd", &UDEV_TRIGGER).after(&["udevd", "coldplug"])),
        // Drivers of the processor itself (virtual machines, ciphers) serve workloads: the first start of Kubernetes is not held up by them.
        aside(
            Unit::one_shot(
                "processor-drivers",
                "Drivers of the processor",
                &["/usr/bin/udevadm", "trigger", "--action=add", "--subsystem-match=cpu"],
            )
            .after(&["udev-trigger", "kube-ready"]),
        ),
    ];
    units.push(Unit::service("chronyd", "Time", &["/usr/sbin/chronyd", "-d"]).after(&["apply-boot", "netd"]));
    units.push(Unit {
        deadline: Some(Duration::from_secs(90)),
        ..helper("clock", "A sane clock", &["clock", "wait"]).after(&["netd", "chronyd"])
    });
    units.push(quiet(Unit {
        kind: Kind::OneShot {
            retry: false,
            every: Some(Duration::from_secs(600)),
        },
        ..helper("clock-save", "The clock's floor for the next boot", &["clock", "save"]).after(&["clock"])
    }));
    units.push(quiet(Unit {
        kind: Kind::OneShot {
            retry: false,
            every: Some(Duration::from_secs(60)),
        },
        ..helper("disk-guard", "Room on the disk for the datastore", &["storage", "guard"]).after(&["clock"])
    }));
    units.extend(wants_iscsi(config).then(iscsid));
    if authorized::any_remote(config) {
        units.push(Unit {
            kind: Kind::OneShot { retry: true, every: None },
            env_file: Some(ENVIRONMENT.to_owned()),
            ..helper("ssh-keys", "SSH keys from the network", &["keys"]).after(&["apply-boot", "netd"])
        });
    }
    units
}

/// Storage drivers (Longhorn for one) log in to targets by the host's iscsid, and their guides ask for this module.
fn wants_iscsi(config: &Config) -> bool {
    config
        .skerry
        .modules
        .iter()
        .any(|m| m.split_whitespace().next() == Some("iscsi_tcp"))
}

fn iscsid() -> Unit {
    let mut unit = Unit::service("iscsid", "iSCSI sessions", &["/usr/sbin/iscsid", "--foreground"]).after(&["apply-boot", "boot-cmd"]);
    // Without it a disk that lost its line is not found again. Sessions are the kernel's, and stay when it is stopped.
    unit.oom_score = -900;
    unit.stop.scope = Scope::MainOnly;
    quiet(unit)
}

/// iwd joins Wi-Fi networks as wifid tells it over D-Bus: all three run only where a network is configured, a wired node has none.
/// A kernel without Wi-Fi has nothing for iwd to do; the bus is there all the same, for who counts on it.
fn wifi(config: &Config, facts: &Facts) -> Vec<Unit> {
    if !config.has_wifi() {
        return vec![];
    }
    let entries = config.network.as_ref().map(|network| &network.wifis);
    let asked = json!({"wifis": entries, "wifi": config.skerry.wifi});
    let version = ("SKERRY_WIFI".to_owned(), asked::digest(&asked));
    let countries: Vec<_> = entries.into_iter().flatten().map(|(_, entry)| &entry.regulatory_domain).collect();
    let country = ("SKERRY_COUNTRY".to_owned(), asked::digest(&json!(countries)));
    // Passphrases for iwd, below /run: see the network room's `wifi::files`, which names the same folders.
    let files = Unit {
        env: vec![version.clone()],
        ..Unit::one_shot("wifi-files", "Passphrases for iwd", &["/usr/lib/skerry/wifid", "files"]).after(&["apply-boot", "boot-cmd"])
    };
    let rules = "--config-file=/etc/dbus-1/system.conf";
    let bus = ["/usr/bin/dbus-daemon", rules, "--nofork", "--nopidfile", "--nosyslog"];
    let socket = ["/usr/bin/test", "-S", "/run/dbus/system_bus_socket"];
    let dbus = Unit {
        ready: Ready::Probe(socket.map(str::to_owned).to_vec()),
        ..Unit::service("dbus", "D-Bus", &bus).after(&["wifi-files"])
    };
    let folders = [
        ("CONFIGURATION_DIRECTORY", "/run/iwd/settings"),
        ("STATE_DIRECTORY", "/run/iwd/networks"),
        // It would look in /var/run, which is on the disk.
        ("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/dbus/system_bus_socket"),
    ];
    let mut iwd = Unit::service("iwd", "Radios", &["/usr/libexec/iwd"]).after(&["wifi-files", "dbus"]);
    iwd.env = folders.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    iwd.env.push(country);
    let wifid = Unit {
        ready: Ready::Notify,
        deadline: Some(Duration::from_secs(75)),
        env: vec![version],
        ..Unit::service("wifid", "Wi-Fi", &["/usr/lib/skerry/wifid"]).after(&["wifi-files", "dbus"])
    };
    if facts.no_radios {
        return vec![quiet(files), quiet(dbus)];
    }
    vec![quiet(files), quiet(dbus), quiet(iwd), wifid]
}

/// What the host of a virtual machine asks for addresses, a clean shutdown and quiet disks. Its port's link is udevd's, and may come later.
fn guest_agent() -> Unit {
    let port = format!("--path=/dev/virtio-ports/{GUEST_PORT}");
    let argv = ["/usr/sbin/qemu-ga", "--method=virtio-serial", &port, "--retry-path"];
    quiet(Unit::service("guest-agent", "Guest agent", &argv).after(&["apply-boot", "udev-trigger"]))
}

/// k3OS's runtime phase: with the network, before Kubernetes.
fn owners_last_words(config: &Config) -> Vec<Unit> {
    let again = helper("apply-runtime", "Settings, with the network", &["apply", "runtime"]).after(&["apply-boot", "netd"]);
    let mut units = vec![Unit {
        deadline: Some(Duration::from_secs(120)),
        ..again
    }];
    units.extend(commands("run", "Commands of run_cmd", &config.run_cmd, &["apply-runtime"]));
    let mut local = helper("local-start", "Scripts of /etc/local.d", &["local-start"]).after(&["run-cmd", "apply-runtime"]);
    local.deadline = Some(COMMANDS);
    local.env_file = Some(ENVIRONMENT.to_owned());
    local.stop.scope = Scope::MainOnly;
    units.push(quiet(local));
    units
}

/// What tells people, and the next boot, how this one went.
fn reports(facts: &Facts, ready: Option<&str>) -> Vec<Unit> {
    let rest = ["banner", "sshd", "apply-runtime", "run-cmd", "local-start"];
    let done = ready.map_or_else(|| rest.to_vec(), |unit| vec!["banner", unit]);
    let mut units = vec![
        quiet(helper("banner", "How to log in", &["banner"]).after(&["netd", "sshd"])),
        quiet(helper("banner-ready", "The machine is ready", &["banner", "ready"]).after(&done)),
    ];
    // A plan from the last good configuration proves nothing about the one on disk, and RAM keeps nothing.
    if facts.plan == "config" && facts.mode == "disk" {
        units.push(quiet(Unit {
            kind: Kind::OneShot { retry: true, every: None },
            ..helper("confirm", "This configuration is good", &["confirm"]).after(&done)
        }));
    }
    units
}

fn getty(tty: &str) -> Unit {
    let terminal = if tty.starts_with("tty") && tty.as_bytes().get(3).is_some_and(u8::is_ascii_digit) {
        "linux"
    } else {
        "vt220"
    };
    let argv = [
        "/usr/sbin/agetty",
        "--noclear",
        "--noreset",
        "--keep-baud",
        "115200,57600,38400,9600",
        "-",
        terminal,
    ];
    let mut unit =
        Unit::service(&format!("getty-{}", tty.to_ascii_lowercase()), &format!("Login on {tty}"), &argv).after(&["apply-boot", "boot-cmd"]);
    unit.tty = Some(format!("/dev/{tty}"));
    unit.env = vec![("TERM".to_owned(), terminal.to_owned())];
    quiet(unit)
}

fn commands(phase: &str, title: &str, list: &[String], after: &[&str]) -> Option<Unit> {
    if list.is_empty() {
        return None;
    }
    let mut unit = helper(&format!("{phase}-cmd"), title, &["command", phase]).after(after);
    unit.deadline = Some(COMMANDS);
    unit.env_file = Some(ENVIRONMENT.to_owned());
    // What a command leaves running is the owner's.
    unit.stop.scope = Scope::MainOnly;
    Some(unit)
}

fn helper(name: &str, title: &str, args: &[&str]) -> Unit {
    let words: Vec<&str> = std::iter::once(SETUP).chain(args.iter().copied()).collect();
    Unit::one_shot(name, title, &words)
}

/// What need not be seen, and gives way to all else that wants the processor: a login, first of all.
fn aside(unit: Unit) -> Unit {
    Unit {
        cpu_weight: Some(20),
        ..quiet(unit)
    }
}

fn quiet(unit: Unit) -> Unit {
    Unit { quiet: true, ..unit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::golden;
    use skerry_config::types::{Distribution, User};
    use skerry_control::unit::{circle, decode, encode};

    fn facts(mode: &str) -> Facts {
        Facts {
            mode: mode.into(),
            plan: "config".into(),
            consoles: vec!["tty1".into(), "ttyS0".into()],
            ..Facts::default()
        }
    }

    /// Stands in for the real one, whose plans have golden files of their own.
    fn distribution() -> skerry_distribution::Plan {
        let unit = Unit::service("kubelet", "Kubernetes node", &["/usr/bin/kubelet"]).after(&["apply-runtime", "run-cmd", "clock", "netd"]);
        let ready = Unit::one_shot("kube-ready", "Node Ready", &["/usr/bin/true"]).after(&["kubelet"]);
        skerry_distribution::Plan {
            units: vec![unit, ready],
            ready: Some("kube-ready".into()),
            ..Default::default()
        }
    }

    fn full() -> Config {
        let mut c = Config {
            init_cmd: vec!["a".into()],
            boot_cmd: vec!["b".into()],
            run_cmd: vec!["c".into()],
            ..Config::default()
        };
        c.ssh_authorized_keys = vec!["ssh-ed25519 AAAA me".into(), "github:me".into()];
        c
    }

    fn check(name: &str, units: &[Unit]) {
        assert_eq!(circle(units), Vec::<String>::new(), "{name}");
        let text = encode(units);
        assert_eq!(decode(text.as_bytes()).unwrap(), units, "{name}");
        golden(&format!("boot/{name}.units"), &text);
    }

    #[test]
    fn iscsid_runs_where_its_module_is_asked_for() {
        let mut config = Config::default();
        let runs = |config: &Config| units(config, &facts("disk"), &distribution()).iter().any(|u| u.name == "iscsid");
        assert!(!runs(&config));
        config.skerry.modules = vec!["nbd".into(), "iscsi_tcp debug_iscsi_tcp=1".into()];
        assert!(runs(&config));
    }

    #[test]
    fn golden_boots() {
        let none = Config {
            skerry: skerry_config::types::Skerry {
                distribution: Distribution::None.into(),
                ..Default::default()
            },
            ..Config::default()
        };
        check("empty", &units(&Config::default(), &facts("disk"), &distribution()));
        check("full-k3os", &units(&full(), &facts("disk"), &distribution()));
        check("none", &units(&none, &facts("disk"), &skerry_distribution::Plan::default()));
        check("live", &units(&Config::default(), &facts("live"), &distribution()));
    }

    /// A bus and iwd only where a Wi-Fi network is configured, in either form.
    #[test]
    fn a_machine_with_a_radio() {
        let listed = Config {
            skerry: skerry_config::types::Skerry {
                wifi: vec![skerry_config::types::Wifi {
                    name: "home".into(),
                    passphrase: skerry_config::types::Secret("long enough".into()),
                }],
                ..Default::default()
            },
            ..Config::default()
        };
        check("wifi", &units(&listed, &facts("disk"), &distribution()));
        let entry = std::collections::BTreeMap::from([("wlan0".to_owned(), skerry_config::Interface::default())]);
        let netplan = Config {
            network: Some(skerry_config::Network {
                wifis: entry,
                ..Default::default()
            }),
            ..Config::default()
        };
        let names = |config: &Config| -> Vec<String> {
            let units = units(config, &facts("disk"), &distribution());
            units.into_iter().map(|u| u.name).filter(|name| name != "netd").collect()
        };
        for name in ["wifi-files", "dbus", "iwd", "wifid"] {
            assert!(
                names(&listed).contains(&name.to_owned()) && names(&netplan).contains(&name.to_owned()),
                "{name}"
            );
            assert!(!names(&full()).contains(&name.to_owned()), "{name}");
        }
        let cloud = Facts {
            no_radios: true,
            ..facts("disk")
        };
        let there: Vec<String> = units(&listed, &cloud, &distribution()).into_iter().map(|u| u.name).collect();
        assert!(
            there.contains(&"dbus".to_owned()) && !there.contains(&"iwd".to_owned()),
            "{there:?}"
        );
        let text = encode(&units(&listed, &facts("disk"), &distribution()));
        assert!(!text.contains("long enough"), "PID 1 need not know passphrases: {text}");
    }

    /// Nothing of the distribution runs, and a disk is taken without a question only where none was wanted.
    #[test]
    fn a_machine_that_installs() {
        let asking = units(&full(), &facts(INSTALL), &distribution());
        check("install", &asking);
        let named = |units: &[Unit], name: &str| units.iter().any(|u| u.name == name);
        assert!(!named(&asking, "kubelet") && !named(&asking, "install") && !named(&asking, "confirm"));
        assert!(
            asking
                .iter()
                .any(|u| u.name == "getty-ttys0" && u.argv.contains(&"--console".to_owned()))
        );
        let mut silent = full();
        silent.skerry.install.silent = true;
        let silent = units(&silent, &facts(INSTALL), &distribution());
        check("install-silent", &silent);
        assert!(named(&silent, "install") && silent.iter().all(|u| !u.argv.contains(&"--console".to_owned())));
        let without_console = Facts {
            consoles: vec![],
            ..facts(INSTALL)
        };
        assert!(named(&units(&full(), &without_console, &distribution()), "install"));
    }

    /// Before the metadata is known nothing of the owner's role is begun; after it, the settings are made once more before the rest.
    #[test]
    fn a_cloud_is_asked_before_anything_that_depends_on_it() {
        let at = |stands: &str| Facts {
            metadata: stands.into(),
            ..facts("disk")
        };
        let pending = units(&full(), &at(metadata::PENDING), &distribution());
        check("cloud-pending", &pending);
        let over = units(&full(), &at(metadata::OVER), &distribution());
        check("cloud", &over);
        let find = |units: &[Unit], name: &str| units.iter().find(|u| u.name == name).cloned();
        for name in ["kubelet", "apply-runtime", "run-cmd", "confirm", "kube-ready"] {
            assert!(find(&pending, name).is_none() && find(&over, name).is_some(), "{name}");
        }
        for name in ["sshd", "netd", "getty-ttys0", "metadata"] {
            assert_eq!(find(&pending, name), find(&over, name), "{name} is not started twice");
        }
        assert!(find(&over, "apply-runtime").unwrap().after.contains(&"apply-metadata".to_owned()));
        let other = Config {
            network: Some(skerry_config::Network::default()),
            ..full()
        };
        assert_ne!(
            find(&units(&other, &at(metadata::OVER), &distribution()), "netd"),
            find(&over, "netd")
        );
    }

    /// Only where the host listens.
    #[test]
    fn a_guest_has_an_agent() {
        let guest = Facts {
            guest_port: true,
            ..facts("disk")
        };
        let of = |facts: &Facts| {
            units(&Config::default(), facts, &distribution())
                .into_iter()
                .find(|u| u.name == "guest-agent")
        };
        assert_eq!(of(&facts("disk")), None);
        let agent = of(&guest).unwrap();
        assert!(
            agent.quiet && agent.argv.iter().any(|a| a.ends_with("/org.qemu.guest_agent.0")),
            "{agent:?}"
        );
        assert_eq!(circle(&units(&Config::default(), &guest, &distribution())), Vec::<String>::new());
    }

    #[test]
    fn a_last_good_boot_confirms_nothing() {
        let last_good = Facts {
            plan: "last-good".into(),
            ..facts("disk")
        };
        let units = units(&Config::default(), &last_good, &distribution());
        assert!(units.iter().all(|u| u.name != "confirm"));
    }

    #[test]
    fn further_users_keys_are_fetched_too() {
        let user = User {
            name: "ops".into(),
            ssh_authorized_keys: vec!["gitlab:ops".into()],
            ..User::default()
        };
        let config = Config {
            users: vec![user],
            ..Config::default()
        };
        assert!(units(&config, &facts("disk"), &distribution()).iter().any(|u| u.name == "ssh-keys"));
    }

    /// Nothing may hold up a login but the settings, the machine's keys and the owner's own commands; nor the network but what it is
    /// set up with.
    #[test]
    fn logins_and_the_network_wait_for_little() {
        for u in units(&full(), &facts("disk"), &distribution()) {
            match u.name.as_str() {
                "sshd" => assert_eq!(u.after, ["host-keys", "apply-boot", "boot-cmd"]),
                "netd" => assert_eq!(u.after, ["apply-network", "boot-cmd"]),
                name if name.starts_with("getty-") => assert_eq!(u.after, ["apply-boot", "boot-cmd"], "{name}"),
                _ => {}
            }
        }
    }

    /// The real adapter's units wait for units that are in the plan, or may be absent from it.
    #[test]
    fn the_embedded_kubernetes_fits_in() {
        let plan = skerry_distribution::plan(&full(), &facts("disk").for_distribution());
        let units = units(&full(), &facts("disk"), &plan);
        assert_eq!(circle(&units), Vec::<String>::new());
        let names: Vec<&str> = units.iter().map(|u| u.name.as_str()).collect();
        let unknown: Vec<_> = units
            .iter()
            .flat_map(|u| u.after.iter())
            // PID 1 has that one in every boot.
            .filter(|a| !names.contains(&a.as_str()) && *a != "host-keys")
            .collect();
        assert!(unknown.is_empty() || plan.units.is_empty(), "{unknown:?}");
        let twice: Vec<_> = names.iter().filter(|n| names.iter().filter(|m| m == n).count() > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
