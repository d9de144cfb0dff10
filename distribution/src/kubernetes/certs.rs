//! Which certificates are to be reissued: a rule over what was seen of them, the time and the node's addresses.
//!
//! kubeadm writes leaf certificates for a year and authorities for ten. A machine may be off for longer than that year, so the
//! rule runs at each boot before anything starts, and again while the machine runs. What is reissued is removed and written anew
//! by kubeadm's own phases, which keep every file that is there.
//!
//! kubeadm dates a certificate back to its authority's first day, so a certificate's own span says nothing about its age:
//! "half of its life" is half of [`LIFE_DAYS`].

use super::paths::{CONF, PKI};

/// The validity that kubeadm gives a leaf certificate.
pub const LIFE_DAYS: i64 = 365;
const DAY: i64 = 86_400;

/// One certificate that this node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What people call it.
    pub name: &'static str,
    /// Directory.
    pub dir: &'static str,
    /// The file that holds it: PEM, or a kubeconfig.
    pub file: &'static str,
    /// Its key, where that is a file of its own.
    pub key: Option<&'static str>,
    /// Whether it must name the node's addresses.
    pub server: bool,
    /// Whether somebody else makes it when it is missing (kubelet its own).
    pub made_by_holder: bool,
    /// The file, in [`PKI`], of the authority that signs it.
    pub authority: &'static str,
    /// The units that hold it, and must be restarted when it is new.
    pub holders: &'static [&'static str],
}

const fn pem(name: &'static str, file: &'static str, key: &'static str, server: bool) -> Entry {
    Entry {
        name,
        dir: PKI,
        file,
        key: Some(key),
        server,
        made_by_holder: false,
        authority: "ca.crt",
        holders: &["kube-apiserver"],
    }
}

const fn by_etcd(name: &'static str, file: &'static str, key: &'static str, server: bool) -> Entry {
    Entry {
        authority: "etcd/ca.crt",
        holders: if server { &["etcd"] } else { &["kube-apiserver"] },
        ..pem(name, file, key, server)
    }
}

const fn conf(file: &'static str, holders: &'static [&'static str]) -> Entry {
    Entry {
        name: file,
        dir: CONF,
        file,
        key: None,
        server: false,
        made_by_holder: false,
        authority: "ca.crt",
        holders,
    }
}

/// Every leaf certificate.
pub const ENTRIES: &[Entry] = &[
    pem("apiserver", "apiserver.crt", "apiserver.key", true),
    pem(
        "apiserver-kubelet-client",
        "apiserver-kubelet-client.crt",
        "apiserver-kubelet-client.key",
        false,
    ),
    Entry {
        authority: "front-proxy-ca.crt",
        ..pem("front-proxy-client", "front-proxy-client.crt", "front-proxy-client.key", false)
    },
    conf("admin.conf", &[]),
    conf("super-admin.conf", &[]),
    conf("controller-manager.conf", &["kube-controller-manager"]),
    conf("scheduler.conf", &["kube-scheduler"]),
    conf("kubelet.conf", &["kubelet", "kube-proxy"]),
    Entry {
        name: "kubelet-serving",
        dir: "/var/lib/kubelet/pki",
        file: "kubelet.crt",
        key: Some("kubelet.key"),
        // kubelet signs it itself, for its host name only; whoever asks kubelet does not look at it.
        server: false,
        made_by_holder: true,
        authority: "",
        holders: &["kubelet"],
    },
];

/// Those of a server whose datastore is etcd, besides.
pub const ETCD_ENTRIES: &[Entry] = &[
    by_etcd("etcd-server", "etcd/server.crt", "etcd/server.key", true),
    by_etcd("etcd-peer", "etcd/peer.crt", "etcd/peer.key", true),
    // Nothing of ours asks etcd by it, but kubeadm makes it, and afterwards refuses to make any while it has ended.
    by_etcd(
        "etcd-healthcheck-client",
        "etcd/healthcheck-client.crt",
        "etcd/healthcheck-client.key",
        false,
    ),
    by_etcd(
        "apiserver-etcd-client",
        "apiserver-etcd-client.crt",
        "apiserver-etcd-client.key",
        false,
    ),
];

/// All that a server has.
pub fn entries(etcd: bool) -> Vec<Entry> {
    let more: &[Entry] = if etcd { ETCD_ENTRIES } else { &[] };
    [ENTRIES, more].concat()
}

/// What was seen of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The file is not there.
    Missing,
    /// It is there and holds no certificate (a write that a power cut ended, for instance).
    Unreadable,
    /// It was read.
    Read(Certificate),
}

/// What matters of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Certificate {
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// Names and addresses it is good for.
    pub names: Vec<String>,
    /// Common name of its subject.
    pub subject: String,
    /// Whether this cluster's authority signed it (always, for one that its holder makes).
    pub ours: bool,
}

/// What is required now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Seconds since 1970.
    pub now: i64,
    /// Names and addresses that the API server's certificate must hold.
    pub names: Vec<String>,
    /// The node's name.
    pub node_name: String,
}

/// One certificate to write anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reissue {
    /// Which.
    pub entry: Entry,
    /// Why, in words.
    pub why: String,
}

/// Decides. `seen` is in the order of `entries`.
pub fn reissue(entries: &[Entry], seen: &[Seen], wanted: &Wanted) -> Vec<Reissue> {
    entries
        .iter()
        .zip(seen)
        .filter_map(|(entry, seen)| reason(entry, seen, wanted).map(|why| Reissue { entry: *entry, why }))
        .collect()
}

fn reason(entry: &Entry, seen: &Seen, wanted: &Wanted) -> Option<String> {
    let certificate = match seen {
        Seen::Missing if entry.made_by_holder => return None,
        Seen::Missing => return Some("it is missing".to_owned()),
        Seen::Unreadable => return Some("it cannot be read".to_owned()),
        Seen::Read(c) => c,
    };
    if !certificate.ours {
        return Some("another authority signed it".to_owned());
    }
    let left = certificate.not_after - wanted.now;
    if left <= 0 {
        return Some(format!("it ended {} days ago", -left / DAY));
    }
    let life = (certificate.not_after - certificate.not_before).min(LIFE_DAYS * DAY);
    if left < life / 2 {
        return Some(format!("it ends in {} days", left / DAY));
    }
    if entry.server {
        let named = |n: &&String| n.is_empty() || certificate.names.iter().any(|c| c.eq_ignore_ascii_case(n));
        if let Some(name) = wanted.names.iter().find(|n| !named(n)) {
            return Some(format!("it does not name {name}"));
        }
    }
    let subject = format!("system:node:{}", wanted.node_name);
    if entry.file == "kubelet.conf" && certificate.subject != subject {
        return Some(format!("it is for {}, not {subject}", certificate.subject));
    }
    None
}

/// The units to restart, each once, in their order.
pub fn holders(reissued: &[Reissue]) -> Vec<&'static str> {
    let mut units = vec![];
    for unit in reissued.iter().flat_map(|r| r.entry.holders) {
        if !units.contains(unit) {
            units.push(*unit);
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    const BORN: i64 = 1_795_000_000;

    fn wanted(days: i64) -> Wanted {
        let names = ["127.0.0.1", "10.43.0.1", "10.0.2.15", "skerry-1"].map(str::to_owned).to_vec();
        Wanted {
            now: BORN + days * DAY,
            names,
            node_name: "skerry-1".into(),
        }
    }

    /// As kubeadm does: dated back to the authority, good for a year from `issued`.
    fn issued(day: i64) -> Vec<Seen> {
        let certificate = |entry: &Entry| Certificate {
            not_before: BORN,
            not_after: BORN + (day + LIFE_DAYS) * DAY,
            names: if entry.server { wanted(0).names } else { vec![] },
            subject: if entry.file == "kubelet.conf" {
                "system:node:skerry-1".into()
            } else {
                "x".into()
            },
            ours: true,
        };
        ENTRIES.iter().map(|e| Seen::Read(certificate(e))).collect()
    }

    fn names(seen: &[Seen], wanted: &Wanted) -> Vec<&'static str> {
        reissue(ENTRIES, seen, wanted).iter().map(|r| r.entry.name).collect()
    }

    #[test]
    fn over_the_years() {
        // (issued on day, looked at on day, all reissued)
        for (issue, today, all) in [
            (0, 0, false),
            (0, 182, false),
            (0, 183, true),
            (0, 300, true),
            (0, 400, true),
            // What is new is not reissued again, however old the authority.
            (400, 400, false),
            (400, 582, false),
            (400, 583, true),
            (3000, 3001, false),
        ] {
            let found = names(&issued(issue), &wanted(today));
            assert_eq!(
                found.len(),
                if all { ENTRIES.len() } else { 0 },
                "issued {issue}, today {today}: {found:?}"
            );
        }
    }

    #[test]
    fn a_new_address_needs_the_api_servers_certificate_only() {
        let mut w = wanted(1);
        w.names.push("192.168.1.5".into());
        let found = reissue(ENTRIES, &issued(0), &w);
        assert_eq!(found.iter().map(|r| r.entry.name).collect::<Vec<_>>(), ["apiserver"]);
        assert_eq!(found[0].why, "it does not name 192.168.1.5");
        assert_eq!(holders(&found), ["kube-apiserver"]);
    }

    #[test]
    fn what_is_missing_or_broken_is_made() {
        let mut seen = issued(0);
        seen[0] = Seen::Unreadable;
        seen[3] = Seen::Missing;
        *seen.last_mut().unwrap() = Seen::Missing;
        assert_eq!(names(&seen, &wanted(1)), ["apiserver", "admin.conf"]);
        let nothing = vec![Seen::Missing; ENTRIES.len()];
        assert_eq!(names(&nothing, &wanted(1)).len(), ENTRIES.len() - 1);
    }

    #[test]
    fn another_name_or_authority() {
        let mut w = wanted(1);
        w.node_name = "other".into();
        assert_eq!(names(&issued(0), &w), ["kubelet.conf"]);
        let mut seen = issued(0);
        if let Seen::Read(c) = &mut seen[5] {
            c.ours = false;
        }
        assert_eq!(names(&seen, &wanted(1)), ["controller-manager.conf"]);
    }

    #[test]
    fn each_holder_once() {
        let all = reissue(ENTRIES, &issued(0), &wanted(400));
        assert_eq!(
            holders(&all),
            [
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy"
            ]
        );
    }
}
