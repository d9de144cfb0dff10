//! `KubeEdge`'s node: containerd, and edgecore, which holds a kubelet of its own and speaks with `cloudcore`.
//!
//! `server_url` is `cloudcore`'s (its port of the web socket, 10000 where none is said; certificates come from port 10002 of the same
//! host), `token` what `keadm gettoken` printed, `k3s_args` flags of edgecore. edgecore takes its token out of its configuration when it
//! has its certificate: the file is left as edgecore rewrote it, until the configuration says something else.

use crate::brought;
use crate::given::{self, VOLUME_PLUGINS};
use crate::kubelet;
use crate::kubernetes::files::{CONTAINERD_TOML, conflist, containerd, pretty};
use crate::kubernetes::paths::{CONFLIST, CONTAINERD};
use crate::kubernetes::role::Endpoint;
use crate::{Facts, File, Plan, Problem};
use serde_json::{Value, json};
use skerry_config::types::{Config, Distribution};

/// edgecore's configuration; persistent, and edgecore's to rewrite.
pub const CONFIG: &str = "/etc/kubeedge/config/edgecore.yaml";
/// There once the cloud has taken the node in.
pub const CERTIFICATE: &str = "/etc/kubeedge/certs/server.crt";
/// Certificates are fetched here.
const CERTIFICATES_PORT: u16 = 10002;
const PORT: u16 = 10000;
/// Pods of one node; they reach others through the node.
const PODS: &str = "10.42.0.0/24";

/// Plans the node. Without `cloudcore` and a token nothing is started, and the problem says why.
pub fn plan(config: &Config, facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    let s = &config.skerry;
    let Some(program) = brought::program(&s.distribution, facts, &mut plan.problems) else {
        return plan;
    };
    let server = s.server_url.as_deref().and_then(server);
    let token = s.token.as_ref().map(|t| t.0.trim()).filter(|t| !t.is_empty());
    let (Some(server), Some(token)) = (server, token) else {
        let key = if server_is_missing(config) {
            "skerry.server_url"
        } else {
            "skerry.token"
        };
        let hint = "server_url: https://CLOUDCORE:10000, and token: what `keadm gettoken` printed";
        plan.problems
            .push(Problem::ignored(key, "edgecore is not started: it cannot join without it", hint));
        return plan;
    };
    plan.files = vec![
        File::new(CONTAINERD_TOML, 0o644, containerd(&facts.release.pause)),
        File::new(CONFLIST, 0o644, network()),
        File::new(CONFIG, 0o600, settings(config, facts, &server, token, &mut plan.problems)).kept(),
    ];
    let mut argv = vec![program.path.clone(), format!("--config={CONFIG}")];
    argv.extend(s.k3s_args.iter().filter(|w| *w != "agent").cloned());
    let env = given::environment(config, &mut plan.problems);
    let edgecore = brought::service("edgecore", "KubeEdge: edgecore", argv, env).after(&["containerd", "kube-pause"]);
    plan.units = vec![brought::files(config), brought::fetch(Distribution::Edgecore, &program)];
    plan.units.extend(kubelet::runtime(config, facts));
    plan.units.extend([edgecore, brought::file_ready(CERTIFICATE, "edgecore")]);
    plan.ready = Some("distribution-ready".to_owned());
    plan
}

fn server(url: &str) -> Option<Endpoint> {
    let mut server = Endpoint::parse(url)?;
    let says_port = url.trim_end_matches('/').ends_with(&format!(":{}", server.port));
    if !says_port {
        server.port = PORT;
    }
    Some(server)
}

fn server_is_missing(config: &Config) -> bool {
    config.skerry.server_url.as_deref().and_then(server).is_none()
}

/// Our bridge, with pods hidden behind their node: `KubeEdge` brings no network, and nobody routes their addresses.
fn network() -> String {
    let mut list: Value = serde_json::from_str(&conflist(&[PODS.to_owned()])).unwrap_or_default();
    if let Some(bridge) = list.pointer_mut("/plugins/0/ipMasq") {
        *bridge = Value::Bool(true);
    }
    pretty(&list)
}

/// What edgecore does not know by itself: its own defaults hold for the rest.
fn settings(config: &Config, facts: &Facts, server: &Endpoint, token: &str, problems: &mut Vec<Problem>) -> String {
    let labels = given::labels(config, facts, problems);
    let taints = given::taints(config, problems);
    let certificates = Endpoint {
        port: CERTIFICATES_PORT,
        ..server.clone()
    };
    let socket = format!("unix://{CONTAINERD}");
    pretty(&json!({
        "apiVersion": "edgecore.config.kubeedge.io/v1alpha2",
        "kind": "EdgeCore",
        "database": { "dataSource": "/var/lib/kubeedge/edgecore.db" },
        "modules": {
            "edgeHub": {
                "httpServer": format!("https://{certificates}"),
                "token": token,
                "websocket": { "enable": true, "server": server.to_string() },
            },
            "edged": {
                "hostnameOverride": facts.node_name,
                "nodeLabels": labels,
                "podSandboxImage": facts.release.pause,
                "registerNode": true,
                // Two spellings, of older and of newer releases.
                "remoteImageEndpoint": socket,
                "remoteRuntimeEndpoint": socket,
                "tailoredKubeletConfig": {
                    "cgroupDriver": "cgroupfs",
                    "containerLogMaxFiles": 3,
                    "containerLogMaxSize": "5Mi",
                    "containerRuntimeEndpoint": socket,
                    "failSwapOn": false,
                    "imageServiceEndpoint": socket,
                    "registerWithTaints": taints,
                    "resolvConf": "/etc/resolv.conf",
                    "volumePluginDir": VOLUME_PLUGINS,
                },
            },
            // Its own broker: there is none on the machine.
            "eventBus": { "enable": true, "mqttMode": 0 },
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_cloudcore_is() {
        for (url, expected) in [
            ("https://cloud.example.org", Some("cloud.example.org:10000")),
            ("https://10.0.0.1:10004/", Some("10.0.0.1:10004")),
            ("https://10.0.0.1:6443", Some("10.0.0.1:6443")),
            ("nonsense at all", None),
        ] {
            assert_eq!(server(url).map(|e| e.to_string()).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn pods_are_hidden_behind_their_node() {
        assert!(network().contains("\"ipMasq\": true"));
    }
}
