//! Kernel modules and kernel parameters: ours, then the owner's.

use super::{Failures, Settings};
use crate::root::Root;
use anyhow::{Context, Result};
use skerry_config::types::{Config, Distribution};
use skerry_sys::module::{self, Index};
use std::io::Write;

/// What a Kubernetes node needs, and why. What the kernel at hand does not have is left out: some kernels have it built in, and
/// the program that needs it says so better than we could.
const KUBERNETES_MODULES: &[(&str, &str)] = &[
    ("overlay", "containerd's snapshots"),
    ("br_netfilter", "the firewall sees traffic between pods of one bridge"),
    ("veth", "a pod's interface"),
    ("bridge", "the pods' network"),
    ("nf_conntrack", "kube-proxy"),
    ("nf_tables", "kube-proxy in nftables mode"),
    ("nft_chain_nat", "kube-proxy"),
    ("nft_ct", "kube-proxy"),
    ("nft_masq", "kube-proxy"),
    ("nft_nat", "kube-proxy"),
    ("nft_numgen", "kube-proxy chooses an endpoint"),
    ("nft_reject_inet", "kube-proxy"),
    ("nft_fib_inet", "kube-proxy"),
    ("nft_compat", "iptables-nft with xt_ matches"),
    ("xt_comment", "portmap, foreign network plugins"),
    ("xt_mark", "portmap, foreign network plugins"),
    ("xt_conntrack", "portmap, foreign network plugins"),
    ("xt_multiport", "portmap"),
    ("xt_addrtype", "portmap"),
    ("xt_nat", "portmap"),
    ("xt_MASQUERADE", "portmap"),
    ("xt_statistic", "foreign service proxies"),
    ("vxlan", "foreign network plugins, flannel for one"),
];

/// What programs need that are brought, and set up iptables by themselves.
const BROUGHT_MODULES: &[(&str, &str)] = &[
    ("iptable_filter", "iptables' own tables"),
    ("iptable_nat", "iptables' own tables"),
    ("ip6table_filter", "iptables' own tables"),
    ("ip6table_nat", "iptables' own tables"),
    ("ip_set", "network policies"),
    ("xt_set", "network policies"),
    ("xt_physdev", "network policies"),
    ("wireguard", "flannel's encrypted backend"),
];

/// Set on every machine.
const SYSCTLS: &[(&str, &str)] = &[
    ("fs.inotify.max_user_instances", "8192"),
    ("fs.inotify.max_user_watches", "524288"),
    ("fs.protected_hardlinks", "1"),
    ("fs.protected_symlinks", "1"),
    ("kernel.dmesg_restrict", "1"),
    ("net.core.somaxconn", "4096"),
];

/// Set where Kubernetes runs: what kubelet's `--protect-kernel-defaults` asks for, forwarding, and room for many pods.
const KUBERNETES_SYSCTLS: &[(&str, &str)] = &[
    ("kernel.keys.root_maxbytes", "25000000"),
    ("kernel.keys.root_maxkeys", "1000000"),
    ("kernel.panic", "10"),
    ("kernel.panic_on_oops", "1"),
    ("net.bridge.bridge-nf-call-ip6tables", "1"),
    ("net.bridge.bridge-nf-call-iptables", "1"),
    ("net.ipv4.conf.all.forwarding", "1"),
    ("net.ipv4.conf.default.forwarding", "1"),
    // Strict filtering drops what comes back through a pod's bridge.
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    (
        "net.ipv4.ip_local_reserved_ports",
        "2379-2382,6443-6444,10010,10248-10250,10256-10259,30000-32767",
    ),
    ("net.ipv4.neigh.default.gc_thresh1", "1024"),
    ("net.ipv4.neigh.default.gc_thresh2", "4096"),
    ("net.ipv4.neigh.default.gc_thresh3", "8192"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("net.ipv6.conf.default.forwarding", "1"),
    // A router takes no address by SLAAC unless it is told to.
    ("net.ipv6.conf.all.accept_ra", "2"),
    ("net.ipv6.conf.default.accept_ra", "2"),
    ("vm.max_map_count", "262144"),
    ("vm.overcommit_memory", "1"),
    ("vm.panic_on_oom", "0"),
];

/// Loads what Kubernetes needs, and the owner's modules.
pub fn modules(s: &Settings) -> Failures {
    let brought = s.config.skerry.distribution != Distribution::Kubernetes;
    match (is_node(&s.config), brought) {
        (false, _) => load(s, &[]),
        (true, false) => load(s, &[KUBERNETES_MODULES]),
        (true, true) => load(s, &[KUBERNETES_MODULES, BROUGHT_MODULES]),
    }
}

/// Loads the owner's modules: a network interface may need one.
pub fn owners_modules(s: &Settings) -> Failures {
    load(s, &[])
}

fn load(s: &Settings, ours: &[&[(&str, &str)]]) -> Failures {
    if !s.root.is_system() || (ours.is_empty() && s.config.skerry.modules.is_empty()) {
        return vec![];
    }
    let index = match Index::of_running_kernel() {
        Ok(index) => index,
        Err(e) => return vec![e.into()],
    };
    let mut failures = vec![];
    let known = ours.iter().copied().flatten().filter(|(name, _)| index.knows(name));
    failures.extend(
        known
            .filter_map(|(name, _)| module::load(&index, name, "").err())
            .map(anyhow::Error::from),
    );
    for entry in &s.config.skerry.modules {
        let (name, parameters) = module_entry(entry);
        let result = module::load(&index, name, parameters);
        failures.extend(result.with_context(|| format!("loading {entry:?} of skerry.modules")).err());
    }
    failures
}

/// `"name param=value"`.
fn module_entry(entry: &str) -> (&str, &str) {
    let entry = entry.trim();
    entry
        .split_once(char::is_whitespace)
        .map_or((entry, ""), |(name, rest)| (name, rest.trim()))
}

/// Sets kernel parameters. Ours are quiet where the kernel does not have them; the owner's are not.
pub fn sysctls(s: &Settings) -> Failures {
    for (key, value) in ours(&s.config) {
        let owners = s.config.skerry.sysctls.keys().any(|k| path_of(k) == path_of(key));
        let path = path_of(key);
        if !owners && s.root.at(&path).exists() {
            // Refused by a container's or a hardened kernel: the machine works without.
            if let Err(why) = set(&s.root, key, value) {
                eprintln!("{why:#}; going on without it");
            }
        }
    }
    let set = |(key, value): (&String, &String)| set(&s.root, key, value).err();
    s.config.skerry.sysctls.iter().filter_map(set).collect()
}

/// Of huge pages and the memory that the kernel keeps free (`Documentation/admin-guide/mm/transhuge.rst`, `sysctl/vm.rst`).
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const MIN_FREE: &str = "vm.min_free_kbytes";
/// What is kept free at least: packets come in bursts.
const MIN_FREE_KIB: u64 = 16 << 10;

/// Debian's kernel backs every large range of memory by pages of 2 MiB, touched or not: a node's Kubernetes, whose programs reserve
/// much and touch little, takes a third more of it. Here only who asks for them (`madvise`) gets them. For their sake the kernel
/// also keeps some 66 MiB free, whatever the machine has; now it keeps what it would without them. The owner's kernel command line
/// and `sysctls` win.
pub fn memory(s: &Settings) -> Failures {
    if !is_node(&s.config) || !s.root.at(HUGE_PAGES).exists() {
        return vec![];
    }
    let text = |path: &str| s.root.text(path).unwrap_or_default();
    let owners: Vec<&str> = s.config.skerry.sysctls.keys().map(String::as_str).collect();
    let wanted = memory_settings(&text("/proc/cmdline"), &text("/proc/meminfo"), &owners);
    let done = wanted
        .into_iter()
        .map(|(path, value)| write(&s.root, &path, &value).with_context(|| format!("writing {value} to {path}")));
    done.filter_map(Result::err).collect()
}

/// Which files get which values, in this order: the kernel raises the second when the first is written.
fn memory_settings(cmdline: &str, meminfo: &str, owners: &[&str]) -> Vec<(String, String)> {
    if cmdline.contains("transparent_hugepage=") {
        return vec![];
    }
    let mut wanted = vec![(HUGE_PAGES.to_owned(), "madvise".to_owned())];
    let min_free = path_of(MIN_FREE);
    if !owners.iter().any(|key| path_of(key) == min_free) {
        wanted.extend(total_kib(meminfo).map(|total| (min_free, min_free_kib(total).to_string())));
    }
    wanted
}

/// The kernel's own formula (`mm/page_alloc.c`, `calculate_min_free_kbytes`), and at least [`MIN_FREE_KIB`].
fn min_free_kib(total_kib: u64) -> u64 {
    (total_kib * 16).isqrt().clamp(MIN_FREE_KIB, 256 << 10)
}

fn total_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn ours(config: &Config) -> impl Iterator<Item = (&'static str, &'static str)> {
    let kubernetes = if is_node(config) { KUBERNETES_SYSCTLS } else { &[] };
    SYSCTLS.iter().chain(kubernetes).copied()
}

fn is_node(config: &Config) -> bool {
    config.skerry.distribution.name.is_node()
}

/// `net.ipv4.ip_forward` → `/proc/sys/net/ipv4/ip_forward`; as sysctl(8), `/` in a name that has dots first stands for a dot.
fn path_of(key: &str) -> String {
    let slash_first = key.find('/').is_some_and(|s| key.find('.').is_none_or(|d| s < d));
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = if slash_first {
        key.to_owned()
    } else {
        key.chars().map(swap).collect()
    };
    format!("/proc/sys/{}", path.trim_matches('/'))
}

fn write(root: &Root, path: &str, value: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(root.at(path))?;
    file.write_all(value.as_bytes())
}

fn set(root: &Root, key: &str, value: &str) -> Result<()> {
    write(root, &path_of(key), value).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow::anyhow!("setting {key}: this kernel has no such parameter (yet: its module may be missing)")
        }
        _ => anyhow::anyhow!("setting {key} to {value:?}: {why}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::root::scratch;

    #[test]
    fn names_of_parameters() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.1/forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"),
            ("net.ipv4.conf.eth0/1.forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"),
        ] {
            assert_eq!(path_of(key), path);
        }
    }

    #[test]
    fn the_owners_values_win_and_a_bad_one_is_named() {
        let root = scratch("sysctls");
        for key in ["vm.max_map_count", "vm.overcommit_memory"] {
            root.write(&path_of(key), "", 0o644).unwrap();
        }
        let mut config = Config::default();
        config.skerry.sysctls = [("vm.max_map_count", "7"), ("no.such", "1")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let s = Settings {
            root,
            config,
            facts: Facts::default(),
        };
        let said: Vec<String> = sysctls(&s).iter().map(|e| format!("{e:#}")).collect();
        assert_eq!(
            said,
            ["setting no.such: this kernel has no such parameter (yet: its module may be missing)"]
        );
        assert_eq!(s.root.word("/proc/sys/vm/max_map_count").unwrap(), "7");
        assert_eq!(s.root.word("/proc/sys/vm/overcommit_memory").unwrap(), "1");
    }

    #[test]
    fn huge_pages_are_for_who_asks() {
        let said = |cmdline: &str, sysctls: &[(&str, &str)]| {
            let root = scratch("memory");
            for (path, text) in [
                (HUGE_PAGES, ""),
                ("/proc/sys/vm/min_free_kbytes", ""),
                ("/proc/cmdline", cmdline),
                ("/proc/meminfo", "MemTotal:        2984348 kB\nMemFree: 1 kB\n"),
            ] {
                root.write(path, text, 0o644).unwrap();
            }
            let mut config = Config::default();
            config.skerry.sysctls = sysctls.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let s = Settings {
                root,
                config,
                facts: Facts::default(),
            };
            assert!(memory(&s).is_empty());
            let word = |path: &str| s.root.text(path).unwrap();
            (word(HUGE_PAGES), word("/proc/sys/vm/min_free_kbytes"))
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(said("quiet", &[]), pair("madvise", "16384"));
        assert_eq!(said("quiet transparent_hugepage=always", &[]), pair("", ""));
        assert_eq!(said("", &[("vm.min_free_kbytes", "70000")]), pair("madvise", ""));
        let gib = |n: u64| min_free_kib(n << 20);
        assert_eq!((gib(1), gib(16), gib(64), gib(1 << 20)), (16384, 16384, 32768, 262_144));
    }

    #[test]
    fn modules_with_parameters() {
        assert_eq!(module_entry("loop max_loop=8  x=1"), ("loop", "max_loop=8  x=1"));
        assert_eq!(module_entry(" nbd "), ("nbd", ""));
    }

    #[test]
    fn tables_have_no_doubles() {
        let mut names: Vec<&str> = KUBERNETES_MODULES
            .iter()
            .chain(BROUGHT_MODULES)
            .map(|(n, _)| *n)
            .chain(SYSCTLS.iter().chain(KUBERNETES_SYSCTLS).map(|(k, _)| *k))
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
