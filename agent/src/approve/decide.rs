//! Who may become which node. The servers' agents are the only ones who approve nodes' certificates, and this is their rule.
//!
//! A token lets a machine ask, and no more: it does not say which node the machine is. That is said by the key. The first key that
//! asks for a free name gets it, and is recorded; from then on only that key gets the name, until the Node is deleted.

use crate::csr::{SIGNER, USAGES};
use crate::x509::Request;

/// One request, and what the API server vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whose signature is asked for.
    pub signer: String,
    /// What for.
    pub usages: Vec<String>,
    /// Who asks, as the API server knows it.
    pub user: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// The request; none if it cannot be read or its own signature is not good.
    pub request: Option<Request>,
    /// Whether it was decided already.
    pub is_decided: bool,
}

/// What is known of the name that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The recorded key: [`crate::x509::fingerprint`].
    pub record: Option<String>,
    /// Whether there is a Node of that name.
    pub has_node: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is not ours to decide.
    Leave,
    /// Refused, and what to do about it.
    Deny(String),
    /// Approved. Where there is no record, the key is recorded first.
    Approve,
}

/// Who asks.
enum Requester<'a> {
    Token,
    Node(&'a str),
    Other,
}

/// The name of the node that is asked for, where the rule gets that far; the caller then looks up what is [`Known`] of it.
pub fn name(asked: &Asked) -> Option<&str> {
    asked.request.as_ref()?.common_name.strip_prefix("system:node:")
}

/// The rule.
pub fn decide(asked: &Asked, known: &Known) -> Verdict {
    let requester = requester(asked);
    if asked.is_decided || asked.signer != SIGNER || matches!(requester, Requester::Other) {
        return Verdict::Leave;
    }
    let deny = |why: &str| Verdict::Deny(why.to_owned());
    let Some(request) = &asked.request else {
        return deny("the request cannot be read, or is not signed by its own key");
    };
    let Some(name) = name(asked).filter(|n| is_node_name(n)) else {
        return deny("the request is not for a node: its subject's common name must be system:node:NAME");
    };
    if request.organisations != ["system:nodes"] || request.has_more_names || request.has_more_wishes {
        return deny("the request is for more than a node: its subject must be O=system:nodes, CN=system:node:NAME, and nothing else");
    }
    if !are_kubelets(&asked.usages) {
        return deny("the request is for other usages than a kubelet's as a client");
    }
    match requester {
        Requester::Node(own) if own != name => deny("a node asks for another node's certificate"),
        // Whoever holds the node's certificate is the node; an owner may have deleted the Node, and with it the record, meanwhile.
        Requester::Node(_) => match &known.record {
            Some(record) if *record != request.key => Verdict::Deny(taken(name, known.has_node)),
            _ => Verdict::Approve,
        },
        Requester::Token | Requester::Other => match &known.record {
            Some(record) if *record == request.key => Verdict::Approve,
            Some(_) => Verdict::Deny(taken(name, known.has_node)),
            None if known.has_node => Verdict::Deny(taken(name, true)),
            None => Verdict::Approve,
        },
    }
}

fn requester(asked: &Asked) -> Requester<'_> {
    let is_in = |group: &str| asked.groups.iter().any(|g| g == group);
    match (
        asked.user.strip_prefix("system:node:"),
        asked.user.strip_prefix("system:bootstrap:"),
    ) {
        (Some(node), _) if is_in("system:nodes") => Requester::Node(node),
        (_, Some(_)) if is_in("system:bootstrappers") => Requester::Token,
        _ => Requester::Other,
    }
}

/// The legacy one is that of RSA keys: <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers>.
fn are_kubelets(usages: &[String]) -> bool {
    let mut usages: Vec<&str> = usages.iter().map(String::as_str).collect();
    usages.sort_unstable();
    usages.dedup();
    let mut wanted = USAGES.to_vec();
    wanted.sort_unstable();
    let mut legacy = [USAGES.as_slice(), &["key encipherment"]].concat();
    legacy.sort_unstable();
    usages == wanted || usages == legacy
}

/// A DNS subdomain (RFC 1123), short enough for a record's name.
fn is_node_name(name: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_label = |l: &str| {
        l.bytes().all(|b| is_word(b) || b == b'-') && l.bytes().next().is_some_and(is_word) && l.bytes().last().is_some_and(is_word)
    };
    name.len() + super::record::SUFFIX.len() <= 253 && name.split('.').all(is_label)
}

fn taken(name: &str, has_node: bool) -> String {
    let free = if has_node {
        format!("`kubectl delete node {name}` frees the name")
    } else {
        format!(
            "`kubectl -n kube-system delete secret {name}{}` frees the name",
            super::record::SUFFIX
        )
    };
    format!(
        "the name {name} belongs to a node with another key: give this machine a hostname of its own; or, if it is that node with a new \
         disk, {free}"
    )
}

#[cfg(test)]
mod tests;
