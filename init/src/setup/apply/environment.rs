//! `/etc/environment`: for the distribution, the container runtime, the owner's commands, and logins.

use super::{Failures, Settings, one};
use crate::lines::joined;
use crate::network_state;
use skerry_config::types::Config;
use skerry_distribution::kubernetes::settings::DENIED;
use std::collections::BTreeMap;

/// The file.
pub const PATH: &str = "/etc/environment";

/// Writes it.
pub fn apply(s: &Settings) -> Failures {
    let addresses = network_state::read(&s.root).addresses();
    let near = near(&s.config, &s.facts.node_name, &addresses);
    let text = render(&variables(&s.config.skerry.environment, &near));
    one(s.root.write_changed(PATH, &text, 0o644))
}

/// What no proxy may be asked for: the machine itself, the pods, the services.
fn near(config: &Config, node_name: &str, addresses: &[String]) -> Vec<String> {
    let args = &config.skerry.k3s_args;
    let mut near: Vec<String> = vec!["localhost".into(), "127.0.0.0/8".into(), "::1".into()];
    near.extend(
        argument(args, "--cluster-cidr")
            .unwrap_or("10.42.0.0/16")
            .split(',')
            .map(str::to_owned),
    );
    near.extend(
        argument(args, "--service-cidr")
            .unwrap_or("10.43.0.0/16")
            .split(',')
            .map(str::to_owned),
    );
    near.extend([
        ".svc".into(),
        format!(".{}", argument(args, "--cluster-domain").unwrap_or("cluster.local")),
    ]);
    near.push(node_name.to_owned());
    near.extend(addresses.iter().cloned());
    near.retain(|n| !n.is_empty());
    near
}

/// The value of a flag in k3s's words, as `--flag value` or `--flag=value`.
fn argument<'a>(args: &'a [String], flag: &str) -> Option<&'a str> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix(flag) {
            Some("") => return args.next().map(String::as_str),
            Some(rest) if rest.starts_with('=') => return rest.get(1..),
            _ => {}
        }
    }
    None
}

/// The owner's variables; where a proxy is among them, each in both spellings, and `NO_PROXY` filled in.
pub fn variables(owners: &BTreeMap<String, String>, near: &[String]) -> BTreeMap<String, String> {
    let mut all = owners.clone();
    // They would make programs believe that another supervisor runs them.
    all.retain(|name, _| !DENIED.contains(&name.as_str()));
    let get = |name: &str| {
        owners
            .get(name)
            .or_else(|| owners.get(&name.to_ascii_lowercase()))
            .filter(|v| !v.is_empty())
    };
    let mut proxied = false;
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        if let Some(proxy) = get(name) {
            proxied = true;
            // Some programs read only one of the two.
            for spelling in [name.to_owned(), name.to_ascii_lowercase()] {
                all.entry(spelling).or_insert_with(|| proxy.clone());
            }
        }
    }
    if proxied {
        let mut list: Vec<&str> = get("NO_PROXY").map_or(vec![], |l| l.split(',').map(str::trim).filter(|n| !n.is_empty()).collect());
        for n in near {
            if !list.contains(&n.as_str()) {
                list.push(n);
            }
        }
        for name in ["NO_PROXY", "no_proxy"] {
            all.insert(name.to_owned(), list.join(","));
        }
    }
    all
}

fn render(variables: &BTreeMap<String, String>) -> String {
    let quoted = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let head = "# Written by Skerry from config.yaml (skerry.environment) at each boot.".to_owned();
    joined(std::iter::once(head).chain(variables.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::golden;
    use skerry_config::types::Skerry;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn golden_file() {
        let args = ["server", "--cluster-cidr=10.1.0.0/16", "--service-cidr", "10.2.0.0/16"]
            .map(str::to_owned)
            .to_vec();
        let config = Config {
            skerry: Skerry {
                k3s_args: args,
                ..Skerry::default()
            },
            ..Config::default()
        };
        let owners = map(&[
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("no_proxy", "intern, localhost"),
            ("SAY", "a \"b\" c:\\d"),
        ]);
        let near = near(&config, "edge-1", &["10.0.2.15".to_owned()]);
        golden("environment", &render(&variables(&owners, &near)));
    }

    #[test]
    fn what_is_written_is_read() {
        let owners = map(&[("A", "plain"), ("B", "x y\"z'\\ $HOME `id` #no")]);
        let read = skerry_sys::process::parse_env(&render(&variables(&owners, &[])));
        assert_eq!(read.into_iter().collect::<BTreeMap<_, _>>(), owners);
    }

    #[test]
    fn no_proxy_without_a_proxy() {
        assert_eq!(variables(&map(&[("NO_PROXY", "x")]), &["y".into()]), map(&[("NO_PROXY", "x")]));
    }
}
