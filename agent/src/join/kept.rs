//! Whether this node is a member already: then nothing is asked of anybody.

use super::discovery;
use crate::x509::{self, Certificate};
use skerry_distribution::kubernetes::kubeconfig;

/// What lies on the disk, and what is asked for.
#[derive(Debug, Default)]
pub struct Facts<'a> {
    /// `kubelet.conf`, which is written last.
    pub conf: Option<&'a str>,
    /// The authority's file.
    pub ca: Option<&'a str>,
    /// Whether [`crate::files::Cluster`] and [`crate::files::Servers`] can be read.
    pub has_cluster: bool,
    /// What the node is to be called.
    pub node_name: &'a str,
    /// See [`discovery::pin`].
    pub pin: Option<&'a str>,
    /// Seconds since 1970.
    pub now: i64,
}

/// Why this node has to join; none if it is a member.
pub fn why_join(facts: &Facts) -> Option<String> {
    let Some(conf) = facts.conf else {
        return Some("this node has not joined a cluster yet".to_owned());
    };
    let torn = || Some("this node's credentials cannot be read".to_owned());
    let (Some(ca), true) = (facts.ca, facts.has_cluster) else {
        return torn();
    };
    let (Some(pem), Some(trusted)) = (kubeconfig::client_certificate(conf), kubeconfig::authority(conf)) else {
        return torn();
    };
    let (Some(_), Some(certificate)) = (kubeconfig::identity(conf), x509::certificate(&pem)) else {
        return torn();
    };
    if facts.pin.is_some_and(|p| p != discovery::hash(ca.as_bytes())) {
        return Some("the token is for another cluster than the one this node is a member of".to_owned());
    }
    if trusted.trim_ascii() != ca.as_bytes().trim_ascii() || !x509::is_signed_by(&pem, ca.as_bytes()) {
        return Some("another authority signed this node's credentials".to_owned());
    }
    why_not(&certificate, facts)
}

fn why_not(certificate: &Certificate, facts: &Facts) -> Option<String> {
    let wanted = format!("system:node:{}", facts.node_name);
    if certificate.common_name != wanted {
        return Some(format!("this node's credentials are for {}, not {wanted}", certificate.common_name));
    }
    let ended = facts.now - certificate.not_after;
    (ended >= 0).then(|| format!("this node's credentials ended {} days ago", ended / 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_distribution::kubernetes::base64;

    // Made by init's tests/certificates/make.sh.
    const CA: &str = include_str!("../../../init/tests/certificates/ca.crt");
    const OTHER: &str = include_str!("../../../init/tests/certificates/other-ca.crt");
    const LEAF: &str = include_str!("../../../init/tests/certificates/leaf.crt");

    fn conf(ca: &str, leaf: &str) -> String {
        format!(
            "certificate-authority-data: {}\nclient-certificate-data: {}\nclient-key-data: AA==\n",
            base64::encode(ca.as_bytes()),
            base64::encode(leaf.as_bytes())
        )
    }

    #[test]
    fn every_reason() {
        let leaf = x509::certificate(LEAF.as_bytes()).unwrap();
        let good = conf(CA, LEAF);
        let ask = |change: &dyn Fn(&mut Facts)| {
            let mut facts = Facts {
                conf: Some(&good),
                ca: Some(CA),
                has_cluster: true,
                node_name: "skerry-1",
                pin: None,
                now: leaf.not_before,
            };
            change(&mut facts);
            why_join(&facts)
        };
        assert_eq!(ask(&|_| {}), None);
        assert_eq!(ask(&|f| f.now = leaf.not_after - 1), None);
        // A clock that is not set yet is no reason.
        assert_eq!(ask(&|f| f.now = 0), None);
        let pin = discovery::hash(CA.as_bytes());
        assert_eq!(
            why_join(&Facts {
                conf: Some(&good),
                ca: Some(CA),
                has_cluster: true,
                node_name: "skerry-1",
                pin: Some(&pin),
                now: leaf.not_before
            }),
            None
        );
        let torn = good.get(..good.len() / 2).unwrap().to_owned();
        let foreign = conf(OTHER, LEAF);
        let stale = conf(CA, "x");
        assert!(ask(&|f| f.conf = None).unwrap().contains("not joined"));
        assert!(ask(&|f| f.ca = None).unwrap().contains("cannot be read"));
        assert!(ask(&|f| f.has_cluster = false).unwrap().contains("cannot be read"));
        assert!(ask(&|f| f.pin = Some("00")).unwrap().contains("another cluster"));
        assert!(ask(&|f| f.ca = Some(OTHER)).unwrap().contains("another authority"));
        assert!(
            ask(&|f| f.node_name = "n2")
                .unwrap()
                .contains("system:node:skerry-1, not system:node:n2")
        );
        assert!(ask(&|f| f.now = leaf.not_after + 3 * 86_400).unwrap().contains("ended 3 days ago"));
        for (conf, says) in [
            (&torn, "cannot be read"),
            (&stale, "cannot be read"),
            (&foreign, "another authority"),
        ] {
            let facts = Facts {
                conf: Some(conf),
                ca: Some(CA),
                has_cluster: true,
                node_name: "skerry-1",
                pin: None,
                now: leaf.not_before,
            };
            assert!(why_join(&facts).unwrap().contains(says), "{says}");
        }
    }
}
