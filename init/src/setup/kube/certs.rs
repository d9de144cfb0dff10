//! `certs`: keys, certificates and kubeconfigs are there, good for long enough, and name the node's addresses.
//!
//! kubeadm makes what is missing; what is to be reissued is removed first. A power cut at any point leaves files that are missing
//! or cannot be read, which the next run makes anew. Only authorities cannot be made anew: their first set counts from the moment
//! that [`COMPLETE`] is written, after everything was flushed; before that no component has started.

use super::look::{self, Machine};
use super::{change, prepare, program, restarts, x509};
use anyhow::{Context, Result, bail};
use skerry_distribution::kubernetes::address::Addresses;
use skerry_distribution::kubernetes::certs::{self, Entry, Seen, Wanted};
use skerry_distribution::kubernetes::datastore::{Datastore, SHARED};
use skerry_distribution::kubernetes::files::{self, KUBEADM_JSON, RESOLV_CONF};
use skerry_distribution::kubernetes::kubeconfig;
use skerry_distribution::kubernetes::paths::{BUNDLE, COMPLETE, CONF, ISLAND, ISLAND_LINK, KUBECONFIG, PKI};
use skerry_distribution::kubernetes::role::Role;
use skerry_distribution::kubernetes::{add_ons, bundle};
use skerry_sys::file;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const ETCD_AUTHORITY: &[(&str, &str)] = &[("etcd/ca.crt", "etcd/ca.key")];
const AUTHORITIES: &[(&str, &str)] = &[
    ("ca.crt", "ca.key"),
    ("front-proxy-ca.crt", "front-proxy-ca.key"),
    ("sa.pub", "sa.key"),
    ("etcd/ca.crt", "etcd/ca.key"),
];
/// Group `skerry`.
const PEOPLE: u32 = 1000;

/// At boot: before any component starts.
pub fn run() -> Result<()> {
    let m = look::machine()?;
    let addresses = look::addresses(&m.settings);
    if addresses.island {
        island(&m)?;
    }
    if m.settings.role != Role::First {
        authorities(&m)?;
        adopted(&m)?;
    }
    renew(&m, &addresses)?;
    add_ons(&m)?;
    settle(&m, &addresses)
}

/// What the agent keeps applied, now that the authority is there. The folder is empty at each boot.
fn add_ons(m: &Machine) -> Result<()> {
    for f in add_ons::files(&m.settings, &look::text(format!("{PKI}/ca.crt"))) {
        file::replace(&f.path, f.text.as_bytes(), f.mode)?;
    }
    Ok(())
}

/// A further server takes the cluster's authorities from what it was given, before it makes its own certificates with them.
fn authorities(m: &Machine) -> Result<()> {
    if Path::new(COMPLETE).exists() {
        return Ok(());
    }
    let sealed = file::read_bounded(BUNDLE, 256 << 10).context("reading the cluster's certificates: unit kube-join fetches them")?;
    let token = look::token(&m.settings.token)?;
    let given = bundle::open(&token, &sealed)
        .context("opening the cluster's certificates: they are sealed with another token; write the server's own `token` (one made by `skerry token` makes workers only)")?;
    file::make_dir(format!("{PKI}/etcd"), 0o700)?;
    for (name, text) in given.iter().filter(|(name, _)| SHARED.contains(&name.as_str())) {
        let mode = if Path::new(name).extension().is_some_and(|e| e == "key") {
            0o600
        } else {
            0o644
        };
        file::replace(format!("{PKI}/{name}"), text.as_bytes(), mode)?;
    }
    Ok(())
}

/// The cluster's authorities, sealed for further servers; none where there can be none.
pub fn sealed(m: &Machine, token: &str) -> Option<Vec<u8>> {
    let read = |name: &&str| {
        Some((
            (*name).to_owned(),
            Some(look::text(format!("{PKI}/{name}"))).filter(|t| !t.is_empty())?,
        ))
    };
    m.settings
        .has_peers()
        .then(|| bundle::seal(token, &SHARED.iter().filter_map(read).collect()))
        .flatten()
}

/// The same for a worker, whose certificate is the business of `agent`: its address, and what kubelet is told of the cluster.
pub fn address() -> Result<()> {
    let m = look::machine()?;
    let addresses = look::addresses(&m.settings);
    if addresses.island {
        island(&m)?;
    }
    adopted(&m)?;
    settle(&m, &addresses)
}

/// What the cluster has a say in: written before it was heard, and now anew.
fn adopted(m: &Machine) -> Result<()> {
    file::replace(files::KUBELET_JSON, files::kubelet_text(&m.settings).as_bytes(), 0o644)?;
    prepare::agent(m)
}

fn settle(m: &Machine, addresses: &Addresses) -> Result<()> {
    file::replace(look::address_path(), format!("{}\n", addresses.node).as_bytes(), 0o644)?;
    resolv_conf(m)?;
    // Nothing runs yet.
    restarts::clear()
}

/// A node without any network stands on an interface of its own, so that it becomes Ready and its pods reach it.
fn island(m: &Machine) -> Result<()> {
    println!("no network: the node's address is {ISLAND} on {ISLAND_LINK} until there is one");
    if Path::new("/sys/class/net").join(ISLAND_LINK).exists() {
        return Ok(());
    }
    let (address, services) = (format!("{ISLAND}/32"), m.settings.services.to_string());
    program::output(&["ip", "link", "add", ISLAND_LINK, "type", "dummy"], None)?;
    program::output(&["ip", "address", "add", &address, "dev", ISLAND_LINK], None)?;
    program::output(&["ip", "link", "set", ISLAND_LINK, "up"], None)?;
    // Without a default route the node itself would not reach services: their addresses are rewritten only after routing.
    program::output(&["ip", "route", "replace", &services, "dev", ISLAND_LINK, "metric", "4096"], None)?;
    Ok(())
}

/// Writes pods' `resolv.conf`; whether it is another one now.
pub fn resolv_conf(m: &Machine) -> Result<bool> {
    let source = m.settings.resolv_conf.as_deref().unwrap_or("/etc/resolv.conf");
    let wanted = files::resolv_conf(&look::text(source));
    if look::text(RESOLV_CONF) == wanted {
        return Ok(false);
    }
    file::replace(RESOLV_CONF, wanted.as_bytes(), 0o644)?;
    Ok(true)
}

/// Looks at every certificate, reissues what the rule says, and writes the owner's kubeconfig. Who holds what is reissued is noted
/// first, in [`restarts`].
pub fn renew(m: &Machine, addresses: &Addresses) -> Result<()> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())?;
    let names = files::names(&m.settings, addresses.node.four, &addresses.all);
    let wanted = Wanted {
        now,
        names: names.clone(),
        node_name: m.settings.node_name.clone(),
    };
    let complete = Path::new(COMPLETE).exists();
    let etcd = m.settings.datastore == Datastore::Etcd;
    if m.settings.role == Role::First {
        // A cluster that changes to etcd gets an authority for it later than the others; it counts once etcd has data.
        let pairs = if complete { ETCD_AUTHORITY } else { AUTHORITIES };
        if !complete || (etcd && !change::held().etcd) {
            remove_halves(pairs)?;
        }
    }
    let entries = certs::entries(etcd);
    let seen: Vec<Seen> = entries.iter().map(see).collect();
    let reissued = certs::reissue(&entries, &seen, &wanted);
    if complete {
        restarts::add(&certs::holders(&reissued))?;
    }
    for r in &reissued {
        if complete || !matches!(r.why.as_str(), "it is missing") {
            println!("{}: {}: a new one is made", r.entry.name, r.why);
        }
        remove(&Path::new(r.entry.dir).join(r.entry.file))?;
        if let Some(key) = r.entry.key {
            remove(&Path::new(r.entry.dir).join(key))?;
        }
    }
    if !complete || reissued.iter().any(|r| !r.entry.made_by_holder) {
        file::replace(
            KUBEADM_JSON,
            files::kubeadm(&m.settings, &m.facts, addresses.node.four, &names).as_bytes(),
            0o600,
        )?;
        let said = program::output(&["/usr/bin/kubeadm", "init", "--config", KUBEADM_JSON], None)?;
        print!("{said}");
    }
    for conf in entries.iter().filter(|e| e.key.is_none()).map(|e| Path::new(e.dir).join(e.file)) {
        if let Some(local) = kubeconfig::at_local_api(&look::text(&conf)) {
            file::replace(&conf, local.as_bytes(), 0o600)?;
        }
    }
    if !complete {
        flush(CONF)?;
        file::replace(COMPLETE, b"1\n", 0o600)?;
    } else if !reissued.is_empty() {
        flush(CONF)?;
    }
    authority_ends(now);
    for_people(m)
}

fn see(entry: &Entry) -> Seen {
    let path = Path::new(entry.dir).join(entry.file);
    if !path.exists() {
        return Seen::Missing;
    }
    let text = look::text(&path);
    let authority = look::text(format!("{PKI}/{}", entry.authority));
    let read = if entry.key.is_none() {
        let trusts = kubeconfig::authority(&text).is_some_and(|a| a.trim_ascii() == authority.trim().as_bytes());
        kubeconfig::client_certificate(&text)
            .and_then(|pem| x509::read(&pem, Some(authority.as_bytes())))
            .map(|mut c| {
                c.ours &= trusts;
                c
            })
    } else {
        let has_key = entry.key.is_some_and(|k| is_pem(&look::text(Path::new(entry.dir).join(k))));
        x509::read(text.as_bytes(), (!entry.made_by_holder).then_some(authority.as_bytes())).filter(|_| has_key)
    };
    read.map_or(Seen::Unreadable, Seen::Read)
}

fn is_pem(text: &str) -> bool {
    text.starts_with("-----BEGIN ") && text.trim_end().ends_with("-----") && text.contains("-----END ")
}

/// Before the first set is complete: a pair of which one half is missing or torn is no authority yet.
fn remove_halves(pairs: &[(&str, &str)]) -> Result<()> {
    for (public, private) in pairs {
        let [public, private] = [public, private].map(|f| Path::new(PKI).join(f));
        let whole = |p: &Path| is_pem(&look::text(p));
        let readable = public.extension().is_none_or(|e| e != "crt") || x509::read(look::text(&public).as_bytes(), None).is_some();
        if !(whole(&public) && whole(&private) && readable) {
            remove(&public)?;
            remove(&private)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).with_context(|| format!("removing {}", path.display())),
        _ => Ok(()),
    }
}

/// What other programs wrote, onto the disk.
fn flush(dir: &str) -> Result<()> {
    let dir = fs::File::open(dir).with_context(|| format!("opening {dir}"))?;
    rustix::fs::syncfs(dir).context("flushing the data partition")
}

/// An authority ends after ten years; nothing can be reissued past its end.
fn authority_ends(now: i64) {
    let Some(ca) = x509::read(look::text(format!("{PKI}/ca.crt")).as_bytes(), None) else {
        return;
    };
    if now < ca.not_before {
        println!(
            "the clock is {} days before the cluster's authority begins: no certificate counts until it is set",
            (ca.not_before - now) / 86_400
        );
    } else if ca.not_after - now < 366 * 86_400 {
        println!(
            "the cluster's authority ends in {} days: make a new cluster, or replace it by hand, before that",
            (ca.not_after - now) / 86_400
        );
    }
}

/// The kubeconfig that people use, where k3OS had it.
fn for_people(m: &Machine) -> Result<()> {
    let text = look::text(format!("{CONF}/admin.conf"));
    if text.is_empty() {
        bail!("copying {CONF}/admin.conf: kubeadm did not write it");
    }
    let mut paths = vec![KUBECONFIG];
    paths.extend(m.settings.kubeconfig_copy.as_deref());
    for path in paths {
        if let Some(parent) = Path::new(path).parent() {
            file::make_dir(parent, 0o755)?;
        }
        let mode = m.settings.kubeconfig_mode;
        let is_so = fs::metadata(path).is_ok_and(|f| f.mode() & 0o7777 == mode && f.uid() == 0 && f.gid() == PEOPLE);
        if !is_so || look::text(path) != text {
            file::replace_owned(path, text.as_bytes(), mode, 0, PEOPLE)?;
        }
    }
    Ok(())
}
