//! A node of a cluster that kubeadm made: containerd, and kubelet beside it; the embedded ones, or a kubelet that is brought.
//!
//! ```text
//! distribution-files ─┬─ containerd ── kube-pause
//!  (distribution-fetch)└─ kubelet-join, logind ──┴──── kubelet ── distribution-ready
//!          netd ── clock ─┘
//! ```
//!
//! `kubelet-join` does with kubeadm what `kubeadm join` does up to the start of kubelet: whom to believe (the token's signature, and the
//! CA's digest where it is given), the cluster's kubelet configuration, the bootstrap kubeconfig. kubelet then asks for its own
//! certificate. Pod network and service proxy are the cluster's: it brings them as pods.

use crate::brought::{self, RUN};
use crate::given::{self, VOLUME_PLUGINS};
use crate::kubernetes::farewell::Grace;
use crate::kubernetes::files::{CONTAINERD_TOML, containerd, pretty};
use crate::kubernetes::paths::{CONF, CONTAINERD, PKI, STATE};
use crate::kubernetes::role::Endpoint;
use crate::kubernetes::settings::settings;
use crate::kubernetes::token::{bootstrap, secret_part};
use crate::kubernetes::units::{self, ReadyAt};
use crate::{Facts, File, Plan, Problem};
use serde_json::json;
use skerry_config::types::{Config, Distribution};
use skerry_control::unit::{Scope, Unit};

/// `JoinConfiguration`. It holds the token: 0600, in memory.
pub const JOIN: &str = "/run/skerry/distribution/join.json";
/// Kubelet's credentials, once it has them.
pub const KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";
/// What it asks for them with; removed when they are there.
pub const BOOTSTRAP: &str = "/etc/kubernetes/bootstrap-kubelet.conf";
/// What of the cluster's kubelet configuration is the machine's to say.
const DROP_INS: &str = "/run/skerry/distribution/kubelet.conf.d";
const ARGS: &str = "skerry.k3s_args";

/// Where to join, as whom to believe, and what else kubelet is told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    server: Option<Endpoint>,
    token: Option<String>,
    pins: Vec<String>,
    flags: Vec<String>,
}

/// Plans a worker. Without a server and a token nothing is started, and the problem says why.
pub fn plan(config: &Config, facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    let choice = &config.skerry.distribution;
    let embedded = choice.path.is_none() && choice.version.is_none() && choice.url.is_none();
    let program = if embedded {
        None
    } else {
        match brought::program(choice, facts, &mut plan.problems) {
            Some(program) => Some(program),
            None => return plan,
        }
    };
    let wanted = wanted(config, &mut plan.problems);
    let (Some(server), Some(token)) = (&wanted.server, &wanted.token) else {
        return plan;
    };
    let taints = given::taints(config, &mut plan.problems);
    plan.files = vec![
        File::new(CONTAINERD_TOML, 0o644, containerd(&facts.release.pause)),
        File::new(JOIN, 0o600, join(facts, server, token, &wanted.pins)),
        File::new(format!("{DROP_INS}/00-skerry.conf"), 0o644, drop_in(&json!(taints))),
    ];
    let labels = given::joined(&given::labels(config, facts, &mut plan.problems));
    let env = given::environment(config, &mut plan.problems);
    let path = program.as_ref().map_or("/usr/bin/kubelet", |p| p.path.as_str());
    let mut argv = vec![
        path.to_owned(),
        format!("--bootstrap-kubeconfig={BOOTSTRAP}"),
        "--config=/var/lib/kubelet/config.yaml".to_owned(),
        format!("--config-dir={DROP_INS}"),
        format!("--hostname-override={}", facts.node_name),
        format!("--kubeconfig={KUBECONFIG}"),
        format!("--node-labels={labels}"),
    ];
    argv.extend(wanted.flags);
    let mut kubelet = brought::service("kubelet", "Kubernetes: kubelet", argv, env).ready("http://127.0.0.1:10248/healthz");
    // The pods are containerd's.
    kubelet.stop.scope = Scope::Tree;
    let after = if program.is_some() {
        "distribution-fetch"
    } else {
        "distribution-files"
    };
    kubelet.after = [after, "containerd", "kubelet-join", "logind"].map(str::to_owned).to_vec();
    let mut join = brought::step("kubelet-join", "Kubernetes: join", &["join"]).after(&["distribution-files", "netd", "clock"]);
    join.env_file = Some("/etc/environment".to_owned());
    // It is told no from a server that is not up yet: again, for ever.
    join.deadline = Some(std::time::Duration::from_secs(360));
    plan.units = vec![brought::files(config)];
    plan.units.extend(program.map(|p| brought::fetch(Distribution::Kubelet, &p)));
    plan.units.extend(runtime(config, facts));
    let logind = units::farewell(Grace::default(), config.has_wifi(), "distribution-files");
    plan.units
        .extend([join, logind, kubelet, brought::node_ready(KUBECONFIG, &facts.node_name, "kubelet")]);
    plan.ready = Some("distribution-ready".to_owned());
    plan
}

/// The embedded containerd with its sandbox image and the owner's archives of images, for who brings a kubelet only.
pub(crate) fn runtime(config: &Config, facts: &Facts) -> [Unit; 3] {
    let mut plain = config.clone();
    // These are not k3s's words.
    plain.skerry.k3s_args.clear();
    let (settings, _) = settings(&plain, facts);
    let mut containerd = units::containerd(&settings);
    containerd.after = vec!["distribution-files".to_owned()];
    let mut images = units::images();
    // A network or a service proxy may be among them, and the node is not Ready without.
    images.after = vec!["kube-pause".to_owned()];
    [containerd, units::pause(), images]
}

/// From the keys, and from the words of a `kubeadm join` that was pasted. What is not kubeadm's is kubelet's.
fn wanted(config: &Config, problems: &mut Vec<Problem>) -> Wanted {
    let s = &config.skerry;
    let mut wanted = Wanted {
        token: s.token.as_ref().map(|t| t.0.trim().to_owned()).filter(|t| !t.is_empty()),
        ..Wanted::default()
    };
    let mut server = s.server_url.clone();
    let mut words = s.k3s_args.iter();
    while let Some(word) = words.next() {
        let (flag, inline) = word.split_once('=').map_or((word.as_str(), None), |(f, v)| (f, Some(v.to_owned())));
        match flag {
            "kubeadm" | "join" | "agent" => {}
            "--token" | "--discovery-token-ca-cert-hash" => {
                let value = inline.or_else(|| words.next().cloned());
                match value {
                    Some(value) if flag == "--token" => wanted.token = Some(value),
                    Some(value) if is_pin(&value) => wanted.pins.push(value),
                    _ => problems.push(Problem::ignored(
                        ARGS,
                        format!("{flag}: no usable value"),
                        "--discovery-token-ca-cert-hash=sha256: and 64 hexadecimal digits, as `kubeadm token create` prints them",
                    )),
                }
            }
            _ if !word.starts_with('-') && Endpoint::parse(word).is_some() => server = Some(word.clone()),
            _ if !word.starts_with("--") => {
                let what = format!("{word:?} is neither a flag of kubelet's, written --FLAG=VALUE, nor a word of `kubeadm join`");
                problems.push(Problem::ignored(ARGS, what, "--FLAG=VALUE"));
            }
            _ => wanted.flags.push(word.clone()),
        }
    }
    wanted.server = server.as_deref().and_then(Endpoint::parse);
    if wanted.server.is_none() {
        let what = "kubelet is not started: no server is named";
        problems.push(Problem::ignored("skerry.server_url", what, "server_url: https://SERVER:6443"));
    }
    let given = wanted.token.take();
    let long = given.as_deref().is_some_and(|t| secret_part(t) != t);
    // A text of another form is the embedded Kubernetes' secret: a kubeadm cluster has no token that was made from it.
    wanted.token = given
        .as_deref()
        .map(secret_part)
        .filter(|t| bootstrap(t).is_some_and(|b| format!("{}.{}", b.id, b.secret) == **t))
        .map(str::to_owned);
    if wanted.token.is_none() {
        let what = "kubelet is not started: there is no token of kubeadm's form";
        problems.push(Problem::ignored(
            "skerry.token",
            what,
            "token: what `kubeadm token create` printed, abcdef.0123456789abcdef",
        ));
    } else if wanted.pins.is_empty() {
        let what = if long {
            "the digest in the token is not of the form that kubeadm's clusters have"
        } else {
            "whoever knows the token can pretend to be the server"
        };
        let hint = "k3s_args: [--discovery-token-ca-cert-hash=sha256:…], as `kubeadm token create --print-join-command` prints it";
        problems.push(Problem::warning("skerry.token", what, hint));
    }
    wanted
}

fn is_pin(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn join(facts: &Facts, server: &Endpoint, token: &str, pins: &[String]) -> String {
    let discovery = if pins.is_empty() {
        json!({ "apiServerEndpoint": server.to_string(), "token": token, "unsafeSkipCAVerification": true })
    } else {
        json!({ "apiServerEndpoint": server.to_string(), "token": token, "caCertHashes": pins })
    };
    pretty(&json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "caCertPath": format!("{PKI}/ca.crt"),
        "discovery": { "bootstrapToken": discovery, "tlsBootstrapToken": token },
        "nodeRegistration": { "name": facts.node_name, "criSocket": format!("unix://{CONTAINERD}"), "taints": [] },
        // The checks are for hosts of another kind; kubelet is started by PID 1 when this is over.
        "skipPhases": ["preflight", "kubelet-wait-bootstrap"],
    }))
}

/// Laid over what the cluster says of every kubelet.
fn drop_in(taints: &serde_json::Value) -> String {
    let mut kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        // There is no systemd to ask.
        "cgroupDriver": "cgroupfs",
        "containerLogMaxFiles": 3,
        "containerLogMaxSize": "5Mi",
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
        "failSwapOn": false,
        "registerWithTaints": taints,
        "resolvConf": "/etc/resolv.conf",
        "volumePluginDir": VOLUME_PLUGINS,
    });
    Grace::default().write(&mut kubelet);
    pretty(&kubelet)
}

/// Directories that must be there before anything of this: path and permissions.
pub const DIRS: &[(&str, u32)] = &[
    (RUN, 0o700),
    (STATE, 0o700),
    (CONF, 0o700),
    ("/etc/kubernetes/manifests", 0o700),
    ("/etc/cni/net.d", 0o755),
    ("/run/containerd", 0o711),
    ("/var/lib/containerd", 0o711),
    ("/var/lib/kubelet", 0o700),
    ("/var/log/pods", 0o755),
    ("/var/log/containers", 0o755),
];

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_config::types::Secret;

    const PIN: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const TOKEN: &str = "abcdef.0123456789abcdef";

    fn of(url: &str, token: &str, args: &str) -> (Wanted, Vec<Problem>) {
        let mut config = Config::default();
        config.skerry.server_url = (!url.is_empty()).then(|| url.to_owned());
        config.skerry.token = (!token.is_empty()).then(|| Secret(token.to_owned()));
        config.skerry.k3s_args = args.split_whitespace().map(str::to_owned).collect();
        let mut problems = vec![];
        (wanted(&config, &mut problems), problems)
    }

    #[test]
    fn keys_and_a_pasted_command_say_the_same() {
        let pasted = format!("kubeadm join 10.0.0.1:6443 --token {TOKEN} --discovery-token-ca-cert-hash {PIN} --v=2");
        let keys = format!("--discovery-token-ca-cert-hash={PIN} --v=2");
        let (a, problems) = of("", "", &pasted);
        assert_eq!(problems, []);
        let (b, problems) = of("https://10.0.0.1:6443", TOKEN, &keys);
        assert_eq!(problems, []);
        assert_eq!(a, b);
        assert_eq!(
            (a.server.unwrap().to_string().as_str(), a.flags.as_slice()),
            ("10.0.0.1:6443", &["--v=2".to_owned()][..])
        );
    }

    #[test]
    fn what_cannot_join_is_named() {
        let problems = |url: &str, token: &str, args: &str| of(url, token, args).1.iter().map(|p| p.key.clone()).collect::<Vec<_>>();
        assert_eq!(
            problems("", TOKEN, &format!("--discovery-token-ca-cert-hash={PIN}")),
            ["skerry.server_url"]
        );
        assert_eq!(problems("https://s", "a secret of another form", ""), ["skerry.token"]);
        assert_eq!(problems("https://s", TOKEN, ""), ["skerry.token"]);
        assert_eq!(
            problems("https://s", TOKEN, &format!("--discovery-token-ca-cert-hash={PIN} -v 2")),
            [ARGS, ARGS]
        );
        assert_eq!(of("https://s", TOKEN, "").0.token.as_deref(), Some(TOKEN));
        assert_eq!(
            of("https://s", "K10aa::node:abcdef.0123456789abcdef", "").0.token.as_deref(),
            Some(TOKEN)
        );
    }
}
