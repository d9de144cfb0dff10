//! Every combination of what may be asked by whom, against what may never happen and what must.

use super::*;

fn request() -> Request {
    Request {
        common_name: "system:node:w1".into(),
        organisations: vec!["system:nodes".into()],
        has_more_names: false,
        has_more_wishes: false,
        key: "key".into(),
    }
}

/// (what it is, whether it is a node's for `w1`, the request)
fn shapes() -> Vec<(&'static str, bool, Option<Request>)> {
    let changed = |change: &dyn Fn(&mut Request)| {
        let mut r = request();
        change(&mut r);
        Some(r)
    };
    vec![
        ("a node's", true, Some(request())),
        ("unreadable", false, None),
        ("no node", false, changed(&|r| r.common_name = "admin".into())),
        ("no name", false, changed(&|r| r.common_name = "system:node:".into())),
        ("no host name", false, changed(&|r| r.common_name = "system:node:../w1".into())),
        ("capitals", false, changed(&|r| r.common_name = "system:node:W1".into())),
        (
            "too long",
            false,
            changed(&|r| r.common_name = format!("system:node:{}", "a".repeat(240))),
        ),
        (
            "admin's group",
            false,
            changed(&|r| r.organisations = vec!["system:masters".into()]),
        ),
        ("two groups", false, changed(&|r| r.organisations.push("system:masters".into()))),
        ("the group twice", false, changed(&|r| r.organisations.push("system:nodes".into()))),
        ("no group", false, changed(&|r| r.organisations.clear())),
        ("more names", false, changed(&|r| r.has_more_names = true)),
        ("host names", false, changed(&|r| r.has_more_wishes = true)),
    ]
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&w| w.to_owned()).collect()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Token,
    Itself,
    OtherNode,
    Nobody,
}

/// (who it is, user, groups)
fn requesters() -> Vec<(Who, &'static str, Vec<String>)> {
    let bootstrap = &[
        "system:bootstrappers",
        "system:bootstrappers:kubeadm:default-node-token",
        "system:authenticated",
    ];
    vec![
        (Who::Token, "system:bootstrap:abcdef", words(bootstrap)),
        (
            Who::Token,
            "system:bootstrap:ghijkl",
            words(&["system:bootstrappers", "system:bootstrappers:other"]),
        ),
        (Who::Itself, "system:node:w1", words(&["system:nodes", "system:authenticated"])),
        (Who::OtherNode, "system:node:w2", words(&["system:nodes", "system:authenticated"])),
        (Who::Nobody, "kubernetes-admin", words(&["system:masters"])),
        (Who::Nobody, "system:anonymous", words(&["system:unauthenticated"])),
        (Who::Nobody, "system:node:w1", words(&["system:authenticated"])),
        (Who::Nobody, "system:bootstrap:abcdef", words(&["system:authenticated"])),
        (Who::Nobody, "somebody", words(&["system:bootstrappers"])),
        (Who::Nobody, "somebody", words(&["system:nodes"])),
        (Who::Nobody, "skerry:server-agent", words(&["skerry:server-agents"])),
    ]
}

/// (whether they are a kubelet's as a client, usages)
fn usages() -> Vec<(bool, Vec<String>)> {
    vec![
        (true, words(&["digital signature", "client auth"])),
        (true, words(&["client auth", "digital signature"])),
        (true, words(&["key encipherment", "digital signature", "client auth"])),
        (false, words(&["digital signature", "server auth"])),
        (false, words(&["digital signature", "client auth", "server auth"])),
        (false, words(&["digital signature", "client auth", "cert sign"])),
        (false, words(&["client auth"])),
        (false, words(&["any"])),
        (false, vec![]),
    ]
}

#[test]
fn all_combinations() {
    let signers = [
        SIGNER,
        "kubernetes.io/kube-apiserver-client",
        "kubernetes.io/kubelet-serving",
        "example.com/own",
        "",
    ];
    let mut approved = 0;
    for signer in signers {
        for (who, user, groups) in requesters() {
            for (shape, is_node, request) in shapes() {
                for (is_client, usages) in usages() {
                    for is_decided in [false, true] {
                        for record in [None, Some("key"), Some("another key")] {
                            for has_node in [false, true] {
                                let asked = Asked {
                                    signer: signer.into(),
                                    usages: usages.clone(),
                                    user: user.into(),
                                    groups: groups.clone(),
                                    request: request.clone(),
                                    is_decided,
                                };
                                let known = Known {
                                    record: record.map(str::to_owned),
                                    has_node,
                                };
                                let verdict = decide(&asked, &known);
                                let what = format!("{who:?} {asked:?} {known:?} ({shape}) → {verdict:?}");
                                let ours = signer == SIGNER && !is_decided && who != Who::Nobody;
                                assert_eq!(verdict == Verdict::Leave, !ours, "{what}");
                                let proof = match (who, record) {
                                    (_, Some("key")) | (Who::Itself, None) => true,
                                    (Who::Token, None) => !has_node,
                                    _ => false,
                                };
                                let may = ours && who != Who::OtherNode && is_node && is_client && proof;
                                assert_eq!(verdict == Verdict::Approve, may, "{what}");
                                approved += usize::from(verdict == Verdict::Approve);
                            }
                        }
                    }
                }
            }
        }
    }
    // Two tokens: the same key (with and without a Node), no record (without). The node itself: four. Each with three spellings.
    assert_eq!(approved, (2 * 3 + 4) * 3);
}

/// What a person reads says what to do.
#[test]
fn a_taken_name_can_be_freed() {
    let asked = Asked {
        signer: SIGNER.into(),
        usages: words(&USAGES),
        user: "system:bootstrap:abcdef".into(),
        groups: words(&["system:bootstrappers"]),
        request: Some(request()),
        is_decided: false,
    };
    let said = |record: Option<&str>, has_node| {
        let known = Known {
            record: record.map(str::to_owned),
            has_node,
        };
        match decide(&asked, &known) {
            Verdict::Deny(why) => why,
            other => panic!("{other:?}"),
        }
    };
    assert!(said(Some("another"), true).contains("`kubectl delete node w1` frees the name"));
    assert!(said(None, true).contains("`kubectl delete node w1` frees the name"));
    assert!(said(Some("another"), false).contains("`kubectl -n kube-system delete secret w1.node-identity.skerry.io` frees the name"));
}

#[test]
fn node_names() {
    for name in ["w1", "a", "1", "a-b.c-d", "w1.example.org"] {
        assert!(is_node_name(name), "{name}");
    }
    for name in ["", ".", "a.", ".a", "-a", "a-", "a..b", "a_b", "A", "a/b", "a b", "ä", "a\n"] {
        assert!(!is_node_name(name), "{name:?}");
    }
    assert!(is_node_name(&"a".repeat(253 - super::super::record::SUFFIX.len())));
    assert!(!is_node_name(&"a".repeat(254 - super::super::record::SUFFIX.len())));
}
