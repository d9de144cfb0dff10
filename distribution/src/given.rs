//! What the configuration gives every node, whichever distribution runs there: labels, taints, environment. What a kubelet would not
//! start with is left out and named.

use crate::kubernetes::node::{Taint, is_label_key, is_label_value, kubelet_may_set};
use crate::kubernetes::settings::DENIED;
use crate::{Facts, Problem};
use skerry_config::types::Config;
use std::collections::BTreeMap;

/// Flexvolume plugins: `/usr`, where kubelet would look for them, is read-only.
pub const VOLUME_PLUGINS: &str = "/var/lib/kubelet/volumeplugins";

/// Labels that kubelet takes, k3OS's own among them.
pub fn labels(config: &Config, facts: &Facts, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in &config.skerry.labels {
        if !is_label_key(key) || !is_label_value(value) {
            let what = format!("{key}={value} is no label");
            problems.push(Problem::ignored("skerry.labels", what, "KEY=VALUE, of letters, digits, -, _ and ."));
        } else if kubelet_may_set(key) {
            labels.insert(key.clone(), value.clone());
        } else {
            let what = format!("{key} is not a label that a node may give itself");
            problems.push(Problem::ignored("skerry.labels", what, "set it by `kubectl label node`"));
        }
    }
    for (key, value) in [("k3os.io/mode", &facts.mode), ("k3os.io/version", &facts.release.version)] {
        if is_label_value(value) && !value.is_empty() {
            labels.insert(key.to_owned(), value.clone());
        }
    }
    labels
}

/// Taints that kubelet takes.
pub fn taints(config: &Config, problems: &mut Vec<Problem>) -> Vec<Taint> {
    let mut taints = vec![];
    for text in &config.skerry.taints {
        match Taint::parse(text) {
            Some(taint) => taints.push(taint),
            None => problems.push(Problem::ignored(
                "skerry.taints",
                format!("{text:?} is no taint"),
                "KEY=VALUE:NoSchedule, or another effect",
            )),
        }
    }
    taints
}

/// A taint as flags write it.
pub fn taint(taint: &Taint) -> String {
    if taint.value.is_empty() {
        format!("{}:{}", taint.key, taint.effect)
    } else {
        format!("{}={}:{}", taint.key, taint.value, taint.effect)
    }
}

/// `KEY=VALUE,…`.
pub fn joined(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

/// The owner's environment, without what would make a program believe that another supervisor runs it.
pub fn environment(config: &Config, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    let mut environment = vec![];
    for (name, value) in &config.skerry.environment {
        if DENIED.contains(&name.as_str()) {
            let what = format!("{name} belongs to another supervisor");
            problems.push(Problem::ignored("skerry.environment", what, "leave it out"));
        } else {
            environment.push((name.clone(), value.clone()));
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kubelet_would_not_start_with_is_left_out_and_named() {
        let mut config = Config::default();
        let s = &mut config.skerry;
        for (key, value) in [("region", "eu"), ("node-role.kubernetes.io/edge", "true"), ("a b", "c")] {
            s.labels.insert(key.into(), value.into());
        }
        s.taints = vec!["a=b:NoSchedule".into(), "a:NoExecute".into(), "a=b:Never".into()];
        s.environment = [("INVOCATION_ID", "1"), ("K3S_DEBUG", "true")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        let facts = Facts {
            mode: "disk".into(),
            ..Facts::default()
        };
        let mut problems = vec![];
        assert_eq!(joined(&labels(&config, &facts, &mut problems)), "k3os.io/mode=disk,region=eu");
        let taints: Vec<String> = taints(&config, &mut problems).iter().map(taint).collect();
        assert_eq!(taints, ["a=b:NoSchedule", "a:NoExecute"]);
        assert_eq!(environment(&config, &mut problems), [("K3S_DEBUG".to_owned(), "true".to_owned())]);
        assert_eq!(problems.len(), 4);
    }
}
