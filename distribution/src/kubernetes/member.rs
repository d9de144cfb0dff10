//! How a server becomes a member of its peers' etcd: what to ask of them, decided from the list that they give.
//!
//! A new member is a learner first: it has no vote until it has the data, so a server that fails in the middle costs the others
//! nothing. Requests and answers are those of etcd's gRPC gateway (etcd, "Interacting with etcd", `/v3/cluster/member/…`).

use serde::Deserialize;
use serde_json::{Value, json};

/// A member, as the gateway lists it. Numbers are texts there, because JSON's are too small.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Its number.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name; empty until it started once.
    pub name: String,
    /// Where its peers reach it.
    #[serde(rename = "peerURLs")]
    pub peers: Vec<String>,
    /// Whether it has no vote yet.
    #[serde(rename = "isLearner")]
    pub learner: bool,
}

/// One request to the peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Path of the gateway.
    pub path: &'static str,
    /// Body.
    pub body: Value,
}

/// What to do next to become a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask, then look at the list again.
    Ask(Ask),
    /// Start with these, `NAME=PEER-URL`.
    Start(Vec<String>),
}

/// The request for the list.
pub fn list() -> Ask {
    Ask {
        path: "/v3/cluster/member/list",
        body: json!({}),
    }
}

/// Reads the list.
pub fn members(answer: &Value) -> Option<Vec<Member>> {
    serde_json::from_value(answer.get("members")?.clone()).ok()
}

/// For a server without data: who is there under its address or name is its own earlier self. One that never started is taken over,
/// one whose data is lost is removed.
pub fn next(members: &[Member], name: &str, peer_url: &str) -> Next {
    let is_own = |m: &&Member| m.peers.iter().any(|p| p == peer_url);
    if let Some(lost) = members.iter().find(|m| !m.name.is_empty() && (m.name == name || is_own(m))) {
        return Next::Ask(Ask {
            path: "/v3/cluster/member/remove",
            body: json!({ "ID": lost.id }),
        });
    }
    if !members.iter().any(|m| is_own(&m)) {
        return Next::Ask(Ask {
            path: "/v3/cluster/member/add",
            body: json!({ "peerURLs": [peer_url], "isLearner": true }),
        });
    }
    let entry = |m: &Member| {
        let own = is_own(&m);
        let name = if own { name } else { m.name.as_str() };
        m.peers.iter().map(|p| format!("{name}={p}")).collect::<Vec<_>>()
    };
    // Another that was added and never started has no name, and cannot be named.
    Next::Start(members.iter().filter(|m| !m.name.is_empty() || is_own(m)).flat_map(entry).collect())
}

/// The request that gives a learner its vote; none if it has it, or is not in the list.
pub fn promote(members: &[Member], peer_url: &str) -> Option<Ask> {
    let own = members.iter().find(|m| m.learner && m.peers.iter().any(|p| p == peer_url))?;
    Some(Ask {
        path: "/v3/cluster/member/promote",
        body: json!({ "ID": own.id }),
    })
}

/// The request that removes the member of a node that was deleted; none where there is none, or where it is this server itself.
pub fn deleted(members: &[Member], name: &str, own: &str) -> Option<Ask> {
    let gone = members.iter().find(|m| m.name == name && name != own && !name.is_empty())?;
    Some(Ask {
        path: "/v3/cluster/member/remove",
        body: json!({ "ID": gone.id }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, name: &str, at: &str, learner: bool) -> Member {
        Member {
            id: id.into(),
            name: name.into(),
            peers: vec![format!("https://{at}:2380")],
            learner,
        }
    }

    #[test]
    fn from_nothing_to_a_vote() {
        let (me, url) = ("b", "https://10.0.0.2:2380");
        let mut there = vec![member("1", "a", "10.0.0.1", false)];
        let Next::Ask(add) = next(&there, me, url) else {
            panic!("added first")
        };
        assert_eq!(add.path, "/v3/cluster/member/add");
        assert_eq!(add.body, json!({ "peerURLs": [url], "isLearner": true }));
        there.push(member("2", "", "10.0.0.2", true));
        let want = vec!["a=https://10.0.0.1:2380".to_owned(), "b=https://10.0.0.2:2380".to_owned()];
        assert_eq!(next(&there, me, url), Next::Start(want.clone()));
        assert_eq!(promote(&there, url).unwrap().body, json!({ "ID": "2" }));
        there[1].learner = false;
        assert_eq!(promote(&there, url), None);
    }

    #[test]
    fn an_earlier_self_without_data_goes_first() {
        let url = "https://10.0.0.2:2380";
        for lost in [
            member("7", "b", "10.0.0.2", false),
            member("7", "b", "10.0.0.9", true),
            member("7", "old", "10.0.0.2", false),
        ] {
            let there = [member("1", "a", "10.0.0.1", false), lost];
            let Next::Ask(ask) = next(&there, "b", url) else {
                panic!("removed first")
            };
            assert_eq!((ask.path, ask.body), ("/v3/cluster/member/remove", json!({ "ID": "7" })));
        }
    }

    #[test]
    fn one_that_never_started_is_not_named() {
        let there = [
            member("1", "a", "10.0.0.1", false),
            member("2", "", "10.0.0.2", true),
            member("3", "", "10.0.0.3", true),
        ];
        let want = vec!["a=https://10.0.0.1:2380".to_owned(), "b=https://10.0.0.2:2380".to_owned()];
        assert_eq!(next(&there, "b", "https://10.0.0.2:2380"), Next::Start(want));
    }

    #[test]
    fn who_was_deleted_goes() {
        let there = [
            member("1", "a", "10.0.0.1", false),
            member("2", "", "10.0.0.2", true),
            member("3", "c", "10.0.0.3", false),
        ];
        let id = |name: &str| deleted(&there, name, "a").map(|ask| ask.body["ID"].clone());
        assert_eq!(id("c"), Some(json!("3")));
        assert_eq!([id("a"), id(""), id("worker")], [None, None, None]);
    }

    #[test]
    fn the_gateways_words() {
        let answer =
            json!({ "header": {}, "members": [{ "ID": "10276657743932975437", "name": "a", "peerURLs": ["https://10.0.0.1:2380"] }] });
        assert_eq!(members(&answer).unwrap(), [member("10276657743932975437", "a", "10.0.0.1", false)]);
        assert_eq!(members(&json!({ "error": "x" })), None);
    }
}
