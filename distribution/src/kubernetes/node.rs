//! What may stand on a node: names, labels and taints, as the API server would judge them.
//!
//! kubelet refuses to start with a label or taint that it does not like, so nothing reaches it that was not checked here.

use serde::Serialize;

/// A taint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Taint {
    /// Its key, qualified like a label's.
    pub key: String,
    /// Its value; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

impl Taint {
    /// Reads `key=value:Effect`, `key:Effect`.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, effect) = text.trim().rsplit_once(':')?;
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        let known = matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute");
        (known && is_label_key(key) && is_label_value(value)).then(|| Self {
            key: key.to_owned(),
            value: value.to_owned(),
            effect: effect.to_owned(),
        })
    }
}

/// A DNS label or subdomain, lower case: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, by dots, at most 253 bytes.
pub fn is_subdomain(text: &str) -> bool {
    let part = |p: &str| {
        let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        ends(p.as_bytes().first())
            && ends(p.as_bytes().last())
            && p.len() <= 63
            && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// `[PREFIX/]NAME`.
pub fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

/// Empty, or at most 63 of `[A-Za-z0-9_.-]` that begin and end with a letter or digit.
pub fn is_label_value(value: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    value.is_empty()
        || (value.len() <= 63
            && ends(value.as_bytes().first())
            && ends(value.as_bytes().last())
            && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)))
}

/// Labels of Kubernetes' own that kubelet lets a node give itself.
const OWN: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Whether kubelet accepts the label in `--node-labels`. All others are set by the administrator's one-shot.
pub fn kubelet_may_set(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else { return true };
    let under = |domain: &str| prefix == domain || prefix.strip_suffix(domain).is_some_and(|p| p.ends_with('.'));
    let reserved = under("kubernetes.io") || under("k8s.io");
    !reserved || under("kubelet.kubernetes.io") || under("node.kubernetes.io") || OWN.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints() {
        let t = |s: &str| Taint::parse(s).map(|t| (t.key, t.value, t.effect));
        assert_eq!(
            t("key1=value1:NoSchedule"),
            Some(("key1".into(), "value1".into(), "NoSchedule".into()))
        );
        assert_eq!(t("a.b/c:NoExecute"), Some(("a.b/c".into(), String::new(), "NoExecute".into())));
        for bad in ["key1=value1", "key1=value1:Never", "=v:NoSchedule", "a b=c:NoSchedule", ""] {
            assert_eq!(t(bad), None, "{bad}");
        }
    }

    #[test]
    fn labels() {
        for good in ["region", "k3os.io/mode", "a_b.c-d", "X"] {
            assert!(is_label_key(good), "{good}");
        }
        for bad in ["", "/x", "A.b/c", "a/b/c", "-a", "a-", "a b", &"x".repeat(64)] {
            assert!(!is_label_key(bad), "{bad}");
        }
        for (key, may) in [
            ("region", true),
            ("k3os.io/mode", true),
            ("node-role.kubernetes.io/edge", false),
            ("node.kubernetes.io/x", true),
            ("sub.node.kubernetes.io/x", true),
            ("topology.kubernetes.io/zone", true),
            ("kubernetes.io/foo", false),
            ("notkubernetes.io/foo", true),
        ] {
            assert_eq!(kubelet_may_set(key), may, "{key}");
        }
    }
}
