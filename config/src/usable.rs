//! Whether a configuration can lead anywhere: the rule behind the last good config.

use crate::check::is_ssh_key;
use crate::{Config, Distribution, Loaded, Secret};

/// Whether a login or a cluster can result from a configuration; if not, why not.
pub fn usable(config: &Config) -> Result<(), String> {
    match (login(config), cluster(config)) {
        (Ok(()), _) | (_, Ok(())) => Ok(()),
        (Err(no_login), Err(no_cluster)) => Err(format!("{no_login}, and {no_cluster}")),
    }
}

impl Loaded {
    /// As [`usable`], and knowing what could not be read: a configuration of which a whole source was refused counts only when a
    /// login results from the rest. (Else a typing error would start a new, empty cluster beside the one the node belongs to.)
    pub fn usable(&self) -> Result<(), String> {
        if self.refused.is_empty() {
            return usable(&self.config);
        }
        login(&self.config).map_err(|no_login| format!("{} could not be read, and {no_login}", self.refused.join(", ")))
    }
}

/// Whether somebody could log in.
fn login(config: &Config) -> Result<(), String> {
    let password = |password: &Option<Secret<String>>| password.as_ref().is_some_and(|Secret(text)| !text.is_empty());
    let keys = |keys: &[String]| keys.iter().any(|key| is_ssh_key(key));
    let skerry = keys(&config.ssh_authorized_keys) || password(&config.skerry.password);
    if skerry
        || config
            .users
            .iter()
            .any(|user| keys(&user.ssh_authorized_keys) || password(&user.password))
    {
        return Ok(());
    }
    Err("nobody can log in (neither a usable ssh_authorized_keys nor a password)".to_owned())
}

/// Whether a cluster could come up, or be joined.
fn cluster(config: &Config) -> Result<(), String> {
    let skerry = &config.skerry;
    let name = skerry.distribution.name;
    match name {
        Distribution::None => return Err("no cluster is asked for (distribution: none)".to_owned()),
        Distribution::Fake => return Ok(()),
        _ => {}
    }
    let has = |flag: &str| {
        skerry
            .k3s_args
            .iter()
            .any(|word| word == flag || word.split_once('=').is_some_and(|(name, _)| name == flag))
    };
    let agent = match (name, skerry.k3s_args.first().map(String::as_str)) {
        (Distribution::Kubelet | Distribution::Edgecore, _) => true,
        (_, Some(role)) => role == "agent" || role == "worker",
        (_, None) => skerry.server_url.is_some(),
    };
    if !agent {
        return Ok(());
    }
    // k0s's token says where the server is; `kubeadm join` says it as a word of its own.
    let server = name == Distribution::K0s
        || (name == Distribution::Kubelet && has("join"))
        || skerry.server_url.is_some()
        || has("--server")
        || has("-s")
        || skerry.environment.contains_key("K3S_URL");
    let token = skerry.token.is_some()
        || ["--token", "-t", "--token-file"].into_iter().any(has)
        || ["K3S_TOKEN", "K3S_TOKEN_FILE", "K3S_CLUSTER_SECRET"]
            .iter()
            .any(|name| skerry.environment.contains_key(*name));
    match (server, token) {
        (true, true) => Ok(()),
        (false, _) => Err("an agent needs a server (server_url)".to_owned()),
        (_, false) => Err("an agent needs the cluster's token".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Source, SourceKind, load};

    fn verdict(text: &str) -> Result<(), String> {
        load(&[Source::new(SourceKind::System, "config.yaml", text)]).usable()
    }

    #[test]
    fn a_config_is_usable_when_a_login_or_a_cluster_can_result() {
        for (text, expected) in [
            ("", true),
            ("hostname: h", true),
            ("k3os: {password: x}\nskerr: {}", true),
            ("skerry: {distribution: none}", false),
            ("skerry: {distribution: none, password: x}", true),
            ("ssh_authorized_keys: [nonsense]\nskerry: {distribution: none}", false),
            ("ssh_authorized_keys: ['github:me']\nskerry: {distribution: none}", true),
            ("users: [{name: op, password: x}]\nskerry: {distribution: none}", true),
            ("k3os: {server_url: 'https://s:6443'}", false),
            ("k3os: {server_url: 'https://s:6443', token: t}", true),
            ("k3os: {k3s_args: [agent]}", false),
            ("k3os: {k3s_args: [agent, --server, https://s, --token=t]}", true),
            ("skerry: {distribution: k3s}", true),
            ("skerry: {distribution: k3s, server_url: 'https://s:6443'}", false),
            ("skerry: {distribution: k0s, k3s_args: [worker]}", false),
            ("skerry: {distribution: k0s, k3s_args: [worker], token: t}", true),
            ("skerry: {distribution: kubelet}", false),
            (
                "skerry: {distribution: kubelet, k3s_args: [kubeadm, join, '10.0.0.1:6443', --token, t]}",
                true,
            ),
            ("skerry: {distribution: edgecore, server_url: 'https://s', token: t}", true),
            ("- not\n- a map", false),
            ("[[[", false),
        ] {
            assert_eq!(verdict(text).is_ok(), expected, "{text}: {:?}", verdict(text));
        }
    }

    #[test]
    fn a_refused_source_counts_unless_the_rest_gives_a_login() {
        let bad = Source::new(SourceKind::Local, "local.yaml", "[[[");
        let good = Source::new(SourceKind::System, "system.yaml", "ssh_authorized_keys: ['ssh-ed25519 AAAA me']");
        assert!(load(&[good, bad.clone()]).usable().is_ok());
        assert!(load(&[bad]).usable().unwrap_err().contains("local.yaml could not be read"));
    }
}
