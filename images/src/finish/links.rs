//! Links of the image: alternatives that update-alternatives would have made, merged `/usr`, and what leads to `/run` and `/var`.

use crate::tree::{Body, Tree};

/// Link → target, and why.
const LINKS: &[(&str, &str, &str)] = &[
    ("bin", "usr/bin", "merged /usr"),
    ("sbin", "usr/sbin", "merged /usr"),
    ("lib", "usr/lib", "merged /usr"),
    ("lib64", "usr/lib64", "merged /usr"),
    ("usr/bin/sh", "bash", "k3OS's files say `source` under #!/bin/sh"),
    ("usr/bin/awk", "gawk", "alternative"),
    ("usr/bin/nawk", "gawk", "alternative"),
    ("usr/bin/pager", "less", "alternative"),
    ("usr/bin/vi", "busybox", "an editor"),
    ("usr/bin/wget", "busybox", "run_cmd of k3OS's users"),
    ("usr/bin/nc", "busybox", "the second thing a person tries"),
    ("usr/bin/nslookup", "busybox", "the third"),
    ("usr/bin/telnet", "busybox", "the fourth"),
    ("usr/bin/unzip", "busybox", "run_cmd of k3OS's users"),
    ("usr/bin/which", "busybox", "scripts"),
    ("usr/bin/traceroute", "busybox", "the fifth"),
    ("usr/bin/ssh-argv0", "ssh", "as Debian"),
    (
        "usr/sbin/iptables",
        "xtables-nft-multi",
        "nft is the one back end: two would not see each other's rules",
    ),
    ("usr/sbin/iptables-save", "xtables-nft-multi", "alternative"),
    ("usr/sbin/iptables-restore", "xtables-nft-multi", "alternative"),
    ("usr/sbin/ip6tables", "xtables-nft-multi", "alternative"),
    ("usr/sbin/ip6tables-save", "xtables-nft-multi", "alternative"),
    ("usr/sbin/ip6tables-restore", "xtables-nft-multi", "alternative"),
    ("usr/sbin/arptables", "xtables-nft-multi", "alternative"),
    ("usr/sbin/ebtables", "xtables-nft-multi", "alternative"),
    (
        "etc/localtime",
        "/usr/share/zoneinfo/Etc/UTC",
        "UTC unless the owner says otherwise",
    ),
    ("etc/mtab", "/proc/self/mounts", "as anywhere"),
    ("etc/os-release", "../usr/lib/os-release", "as anywhere"),
    ("etc/resolv.conf", "/run/skerry/resolv.conf", "netd writes it"),
    ("usr/local", "/var/local", "the owner's programs persist"),
    ("var/run", "/run", "as anywhere"),
    ("var/lock", "/run/lock", "as anywhere"),
    ("usr/sbin/init", "../lib/skerry/init", "PID 1"),
    ("usr/sbin/reboot", "../bin/skerry", "the command asks PID 1"),
    ("usr/sbin/poweroff", "../bin/skerry", "the command asks PID 1"),
    ("usr/sbin/halt", "../bin/skerry", "the command asks PID 1"),
    ("usr/sbin/shutdown", "../bin/skerry", "the command asks PID 1"),
    ("usr/bin/k3os", "skerry", "the name that k3OS's users know"),
    ("usr/bin/ctr", "containerd", "one program by two names"),
    (
        "usr/bin/kube-apiserver",
        "../libexec/kubernetes/kubernetes",
        "one program by eleven names",
    ),
    (
        "usr/bin/kube-controller-manager",
        "../libexec/kubernetes/kubernetes",
        "one program by eleven names",
    ),
    (
        "usr/bin/kube-scheduler",
        "../libexec/kubernetes/kubernetes",
        "one program by eleven names",
    ),
    ("usr/bin/kubelet", "../libexec/kubernetes/kubernetes", "one program by eleven names"),
    (
        "usr/bin/kube-proxy",
        "../libexec/kubernetes/kubernetes",
        "one program by eleven names",
    ),
    ("usr/bin/kubeadm", "../libexec/kubernetes/kubernetes", "one program by eleven names"),
    ("usr/bin/kubectl", "../libexec/kubernetes/kubernetes", "one program by eleven names"),
    ("usr/bin/kine", "../libexec/kubernetes/kubernetes", "one program by eleven names"),
    (
        "usr/bin/metrics-server",
        "../libexec/kubernetes/kubernetes",
        "one program by eleven names",
    ),
    ("usr/bin/helm", "../libexec/kubernetes/kubernetes", "one program by eleven names"),
    ("usr/bin/etcd", "../libexec/kubernetes/kubernetes", "one program by eleven names"),
];

/// Makes the links; what a package put in their place goes.
pub fn apply(tree: &mut Tree) {
    for (path, target, _) in LINKS {
        tree.remove(path);
        tree.link(path, target);
    }
    // /etc/alternatives is not kept: a link through it that is left would lead nowhere.
    tree.0
        .retain(|_, node| !matches!(&node.body, Body::Link(target) if target.starts_with("/etc/alternatives/")));
    tree.remove("etc/alternatives");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_links_give_way() {
        let mut tree = Tree::default();
        tree.link("usr/bin/sh", "dash");
        tree.text("usr/local/bin/x", 0o755, "");
        tree.link("usr/bin/editor", "/etc/alternatives/editor");
        apply(&mut tree);
        assert_eq!(tree.0["usr/bin/sh"].body, Body::Link("bash".into()));
        assert_eq!(tree.0["usr/local"].body, Body::Link("/var/local".into()));
        assert!(!tree.0.contains_key("usr/local/bin"));
        assert!(!tree.0.contains_key("usr/bin/editor"));
    }

    #[test]
    fn nothing_is_made_below_a_link() {
        for (path, _, _) in LINKS {
            assert!(LINKS.iter().all(|(other, _, _)| !path.starts_with(&format!("{other}/"))), "{path}");
        }
    }
}
