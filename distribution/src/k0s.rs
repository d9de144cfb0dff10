//! k0s by its own program: `k0s controller` or `k0s worker`.
//!
//! `k3s_args` are in k0s's words. Its token is a whole kubeconfig: with one, and without another role, the node is a worker. k0s speaks
//! no `sd_notify`; it answers on its status socket.

use crate::brought;
use crate::given::{self, VOLUME_PLUGINS};
use crate::{Facts, File, Plan, Problem};
use skerry_config::types::{Config, Distribution};

/// The join token; in memory.
pub const TOKEN: &str = "/run/skerry/distribution/k0s-token";
const SOCKET: &str = "/run/k0s/status.sock";
/// The kubeconfig of the kubelet that k0s runs.
const KUBELET: &str = "/var/lib/k0s/kubelet.conf";

/// Plans a controller (with pods on it, unless `k3s_args` begin with `controller`) or a worker.
pub fn plan(config: &Config, facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    let Some(program) = brought::program(&config.skerry.distribution, facts, &mut plan.problems) else {
        return plan;
    };
    let s = &config.skerry;
    let token = s.token.as_ref().filter(|t| !t.0.trim().is_empty());
    let has = |flag: &str| s.k3s_args.iter().any(|w| w.split('=').next() == Some(flag));
    let (role, own, rest) = match s.k3s_args.first().map(String::as_str) {
        Some("controller") => ("controller", false, s.k3s_args.get(1..).unwrap_or_default()),
        Some("server") => ("controller", true, s.k3s_args.get(1..).unwrap_or_default()),
        Some("worker" | "agent") => ("worker", true, s.k3s_args.get(1..).unwrap_or_default()),
        _ if token.is_some() || s.server_url.is_some() => ("worker", true, s.k3s_args.as_slice()),
        _ => ("controller", true, s.k3s_args.as_slice()),
    };
    if s.server_url.is_some() {
        let what = "k0s does not read it: its token says where the servers are";
        plan.problems.push(Problem::ignored(
            "skerry.server_url",
            what,
            "token: what `k0s token create` printed",
        ));
    }
    if role == "worker" && token.is_none() && !has("--token-file") {
        let what = "k0s worker is not started: there is no token";
        plan.problems.push(Problem::ignored(
            "skerry.token",
            what,
            "token: what `k0s token create --role=worker` printed",
        ));
        return plan;
    }
    let mut argv = vec![program.path.clone(), role.to_owned()];
    if role == "controller" && own && !has("--single") {
        // As k3s's servers: others can join, and pods run on it.
        argv.extend(["--enable-worker", "--no-taints"].map(str::to_owned));
    }
    let runs_pods = role == "worker" || own || has("--single") || has("--enable-worker");
    if runs_pods {
        argv.extend(of_the_node(config, facts, &mut plan.problems));
        if !has("--kubelet-extra-args") {
            let name = &facts.node_name;
            argv.push(format!(
                "--kubelet-extra-args=--hostname-override={name} --volume-plugin-dir={VOLUME_PLUGINS}"
            ));
        }
    }
    if let Some(token) = token.filter(|_| !has("--token-file")) {
        argv.push(format!("--token-file={TOKEN}"));
        plan.files.push(File::new(TOKEN, 0o600, format!("{}\n", token.0.trim())));
    }
    argv.extend(rest.iter().cloned());
    let env = given::environment(config, &mut plan.problems);
    let mut k0s = brought::service("k0s", &format!("Kubernetes: k0s {role}"), argv, env);
    k0s.ready = brought::socket_answers(SOCKET, "/status");
    plan.units = vec![brought::files(config), brought::fetch(Distribution::K0s, &program), k0s];
    plan.ready = Some("k0s".to_owned());
    if runs_pods {
        plan.units.push(brought::node_ready(KUBELET, &facts.node_name, "k0s"));
        plan.ready = Some("distribution-ready".to_owned());
    }
    plan
}

fn of_the_node(config: &Config, facts: &Facts, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut words = vec![format!("--labels={}", given::joined(&given::labels(config, facts, problems)))];
    let taints: Vec<String> = given::taints(config, problems).iter().map(given::taint).collect();
    if !taints.is_empty() {
        words.push(format!("--taints={}", taints.join(",")));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_config::types::Secret;

    fn of(args: &[&str], token: &str) -> (String, Option<String>) {
        let mut config = Config::default();
        config.skerry.distribution = Distribution::K0s.into();
        config.skerry.k3s_args = args.iter().map(|&a| a.to_owned()).collect();
        config.skerry.token = (!token.is_empty()).then(|| Secret(token.to_owned()));
        let plan = plan(&config, &Facts::default());
        let words = plan.units.iter().find(|u| u.name == "k0s").map(|u| u.argv[1..].join(" "));
        (words.unwrap_or_default(), plan.ready)
    }

    #[test]
    fn roles() {
        let ready = Some("distribution-ready".to_owned());
        for (args, token, begins, holds) in [
            (&[][..], "", "controller --enable-worker --no-taints ", ""),
            (&["server", "--single"], "", "controller --labels", " --single"),
            (&["controller", "--single"], "", "controller --labels", " --single"),
            (&[], "abc", "worker --labels", " --token-file=/run/skerry/distribution/k0s-token"),
            (&["worker", "--token-file=/x"], "abc", "worker --labels", " --token-file=/x"),
            (&["server"], "abc", "controller --enable-worker ", "--token-file=/run/"),
        ] {
            let (words, r) = of(args, token);
            assert!(words.starts_with(begins) && words.contains(holds), "{args:?}: {words}");
            assert_eq!(r, ready);
        }
        assert_eq!(of(&["controller"], ""), ("controller".to_owned(), Some("k0s".to_owned())));
        assert_eq!(of(&["worker"], ""), (String::new(), None));
    }
}
