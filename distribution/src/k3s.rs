//! k3s by its own program: `k3s server` or `k3s agent`.
//!
//! What the configuration says goes into `/etc/rancher/k3s/config.yaml.d/00-os.yaml`; `k3s_args` follow as they are, and count more.
//! k3s speaks `sd_notify` (only `READY=1`), must not see `INVOCATION_ID` (it would ask systemd for cgroups) nor `WATCHDOG_USEC` (its
//! kubelet would promise what it does not keep), and holds the pods through shims, which survive it.

use crate::brought;
use crate::given::{self, VOLUME_PLUGINS};
use crate::kubernetes::farewell::Grace;
use crate::kubernetes::units;
use crate::{Facts, File, Plan, Problem};
use serde_json::{Map, Value, json};
use skerry_config::types::{Config, Distribution};
use skerry_control::unit::Ready;

/// What the system writes. The owner's `config.yaml` comes before it, other files of this folder after it.
pub const CONFIG: &str = "/etc/rancher/k3s/config.yaml.d/00-os.yaml";
/// Read by the kubelet inside k3s 1.32 and later; after k3s's own `00-k3s-defaults.conf`.
pub const DROP_IN: &str = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/50-skerry.conf";
/// Kubelet's own kubeconfig, on servers and agents.
const KUBELET: &str = "/var/lib/rancher/k3s/agent/kubelet.kubeconfig";
const ARGS: &str = "skerry.k3s_args";

/// Plans a server or an agent. An agent without a server or a token is named and not started.
pub fn plan(config: &Config, facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    let Some(program) = brought::program(&config.skerry.distribution, facts, &mut plan.problems) else {
        return plan;
    };
    let (server, arguments) = arguments(config, &mut plan.problems);
    if let Some(problem) = (!server).then(|| cannot_join(config)).flatten() {
        plan.problems.push(problem);
        return plan;
    }
    let role = if server { "server" } else { "agent" };
    let mut argv = vec![program.path.clone(), role.to_owned()];
    argv.extend(arguments);
    let env = given::environment(config, &mut plan.problems);
    let mut k3s = brought::service("k3s", &format!("Kubernetes: k3s {role}"), argv, env);
    k3s.ready = Ready::Notify;
    k3s.after.push("logind".to_owned());
    plan.files = vec![
        File::new(CONFIG, 0o600, settings(config, facts, server, &mut plan.problems)),
        File::new(DROP_IN, 0o600, drop_in(config)),
    ];
    let logind = units::farewell(Grace::default(), config.has_wifi(), "distribution-files");
    let ready = brought::node_ready(KUBELET, &node_name(config, facts), "k3s");
    plan.units = vec![
        brought::files(config),
        brought::fetch(Distribution::K3s, &program),
        logind,
        k3s,
        ready,
    ];
    plan.ready = Some("distribution-ready".to_owned());
    plan
}

/// Whether it is a server, and the owner's arguments without the role.
fn arguments(config: &Config, problems: &mut Vec<Problem>) -> (bool, Vec<String>) {
    let given = &config.skerry.k3s_args;
    let (server, rest) = match given.first().map(String::as_str) {
        Some("server") => (true, given.get(1..).unwrap_or_default()),
        Some("agent") => (false, given.get(1..).unwrap_or_default()),
        _ => (config.skerry.server_url.is_none(), given.as_slice()),
    };
    let mut kept = vec![];
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let flag = word.split('=').next().unwrap_or_default();
        if matches!(flag, "--log" | "-l" | "-log") {
            if !word.contains('=') {
                words.next();
            }
            let what = format!("{flag}: k3s would start a second time and say at once that it is ready");
            problems.push(Problem::ignored(ARGS, what, "`skerry logs k3s` shows what it says"));
        } else {
            kept.push(word.clone());
        }
    }
    (server, kept)
}

fn cannot_join(config: &Config) -> Option<Problem> {
    let s = &config.skerry;
    let said = |flags: &[&str], variables: &[&str]| {
        let flag = |word: &String| flags.contains(&word.split('=').next().unwrap_or_default());
        s.k3s_args.iter().any(flag) || variables.iter().any(|v| s.environment.contains_key(*v))
    };
    let mut files = config.write_files.iter().map(|f| f.path.trim_start_matches('/'));
    // The owner's own file may say both.
    if files.any(|p| p == "etc/rancher/k3s/config.yaml" || p.starts_with("etc/rancher/k3s/config.yaml.d/")) {
        return None;
    }
    let hint = "an agent needs server_url and token";
    if s.server_url.is_none() && !said(&["--server", "-s"], &["K3S_URL"]) {
        return Some(Problem::ignored(
            "skerry.server_url",
            "k3s agent is not started: no server is named",
            hint,
        ));
    }
    let variables = ["K3S_TOKEN", "K3S_TOKEN_FILE", "K3S_CLUSTER_SECRET"];
    if s.token.is_none() && !said(&["--token", "-t", "--token-file"], &variables) {
        return Some(Problem::ignored(
            "skerry.token",
            "k3s agent is not started: there is no token",
            hint,
        ));
    }
    None
}

fn node_name(config: &Config, facts: &Facts) -> String {
    let mut words = config.skerry.k3s_args.iter();
    let mut name = config.skerry.environment.get("K3S_NODE_NAME").cloned();
    while let Some(word) = words.next() {
        if word == "--node-name" {
            name = words.next().cloned();
        } else if let Some(value) = word.strip_prefix("--node-name=") {
            name = Some(value.to_owned());
        }
    }
    name.unwrap_or_else(|| facts.node_name.clone())
}

/// `00-os.yaml`, as JSON, which YAML contains. `+` at a key's end: added to what other files say.
fn settings(config: &Config, facts: &Facts, server: bool, problems: &mut Vec<Problem>) -> String {
    let s = &config.skerry;
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
    if !s.environment.contains_key("K3S_NODE_NAME") {
        put("node-name", json!(facts.node_name));
    }
    if let Some(url) = &s.server_url {
        put("server", json!(url));
    }
    if let Some(token) = &s.token {
        put("token", json!(token.0));
    }
    let labels: Vec<String> = given::labels(config, facts, problems)
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    put("node-label+", json!(labels));
    let taints: Vec<String> = given::taints(config, problems).iter().map(given::taint).collect();
    if !taints.is_empty() {
        put("node-taint+", json!(taints));
    }
    put("kubelet-arg+", json!([format!("volume-plugin-dir={VOLUME_PLUGINS}")]));
    // What the owner says by variables would count less than this file.
    if server && !s.environment.contains_key("K3S_KUBECONFIG_MODE") {
        put("write-kubeconfig-mode", json!("0640"));
        if !s.environment.contains_key("K3S_KUBECONFIG_GROUP") {
            put("write-kubeconfig-group", json!("skerry"));
        }
    }
    format!("# Written by Skerry at each boot.\n{:#}\n", Value::Object(keys))
}

/// What suits flash and a read-only `/usr`.
fn drop_in(config: &Config) -> String {
    let mut kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerLogMaxSize": "5Mi",
        "containerLogMaxFiles": 3,
        "failSwapOn": false,
    });
    if config.has_swap() {
        kubelet["memorySwap"] = crate::kubernetes::files::memory_swap();
    }
    Grace::default().write(&mut kubelet);
    format!("{kubelet:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_config::types::Secret;

    fn config(args: &[&str]) -> Config {
        let mut config = Config::default();
        config.skerry.distribution = Distribution::K3s.into();
        config.skerry.k3s_args = args.iter().map(|&a| a.to_owned()).collect();
        config
    }

    fn argv(config: &Config) -> Vec<String> {
        let plan = plan(config, &Facts::default());
        plan.units
            .iter()
            .find(|u| u.name == "k3s")
            .map(|u| u.argv.clone())
            .unwrap_or_default()
    }

    #[test]
    fn the_role_is_the_first_word_or_what_server_url_says() {
        let mut joining = config(&[]);
        joining.skerry.server_url = Some("https://s:6443".into());
        joining.skerry.token = Some(Secret("t".into()));
        let mut further = joining.clone();
        further.skerry.k3s_args = vec!["server".into(), "--tls-san=x".into()];
        for (config, expected) in [
            (config(&[]), vec!["server"]),
            (config(&["--disable=traefik"]), vec!["server", "--disable=traefik"]),
            (
                config(&["agent", "--server", "https://s", "-t", "x"]),
                vec!["agent", "--server", "https://s", "-t", "x"],
            ),
            (joining, vec!["agent"]),
            (further, vec!["server", "--tls-san=x"]),
            // An agent that could only crash is not started.
            (config(&["agent"]), vec![]),
            (config(&["agent", "--server=https://s"]), vec![]),
        ] {
            assert_eq!(argv(&config).get(1..).unwrap_or_default(), expected);
        }
    }

    #[test]
    fn a_second_start_by_log_is_taken_out() {
        for words in [
            &["server", "--log", "/x", "-v", "2"][..],
            &["server", "--log=/x", "-v", "2"],
            &["server", "-l", "/x", "-v", "2"],
        ] {
            let config = config(words);
            assert_eq!(argv(&config)[1..], ["server", "-v", "2"]);
            assert_eq!(plan(&config, &Facts::default()).problems.len(), 1);
        }
    }

    #[test]
    fn the_node_is_looked_for_by_the_name_that_it_has() {
        let facts = Facts {
            node_name: "pinned".into(),
            ..Facts::default()
        };
        assert_eq!(node_name(&config(&["server"]), &facts), "pinned");
        assert_eq!(node_name(&config(&["server", "--node-name", "a"]), &facts), "a");
        assert_eq!(node_name(&config(&["server", "--node-name=b"]), &facts), "b");
    }
}
