//! Which server to try first.

use crate::files::Servers;

/// What is known of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It answered the last time it was asked.
    Good,
    /// It was not asked yet.
    Unknown,
    /// It did not answer.
    Bad,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `HOST:PORT`.
    pub address: String,
    /// Whether it is in the owner's words only; the cluster does not name it so.
    pub is_given: bool,
    /// What is known of it.
    pub health: Health,
    /// How often in a row it did not answer.
    pub failures: u32,
}

/// After so many failures in a row, connections that are open are given up: the server has lost its power, or hangs.
const GIVE_UP: u32 = 2;

/// The servers in the order in which one connection tries them. All of them: none is left out because of an old failure.
///
/// What is good comes first. Among equals each node has an order of its own, always the same: nodes spread over the servers, and go
/// back when one returns.
pub fn order<'a>(servers: &'a [Server], node_name: &str) -> Vec<&'a str> {
    let mut all: Vec<_> = servers
        .iter()
        .map(|s| (s.health, s.is_given, weight(node_name, &s.address), s.address.as_str()))
        .collect();
    all.sort_unstable();
    all.into_iter().map(|(_, _, _, address)| address).collect()
}

/// FNV-1a over both, stirred so that one node's order says nothing of another's.
fn weight(node_name: &str, address: &str) -> u64 {
    let bytes = node_name.bytes().chain([0]).chain(address.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let stirred = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    stirred ^ stirred >> 29
}

/// The servers after the list changed: what is known of those that stay, stays.
pub fn renewed(before: &[Server], list: &Servers) -> Vec<Server> {
    let named = list.servers.iter().map(|a| (a, false));
    let given = list.given.iter().filter(|a| !list.servers.contains(a)).map(|a| (a, true));
    let mut after: Vec<Server> = vec![];
    for (address, is_given) in named.chain(given) {
        if after.iter().any(|s| s.address == *address) {
            continue;
        }
        let known = before.iter().find(|s| s.address == *address);
        after.push(Server {
            address: address.clone(),
            is_given,
            health: known.map_or(Health::Unknown, |s| s.health),
            failures: known.map_or(0, |s| s.failures),
        });
    }
    after
}

/// Takes in an answer, or its absence. True: connections that are open to this server are to be given up.
pub fn heard(server: &mut Server, answered: bool) -> bool {
    if answered {
        server.health = Health::Good;
        server.failures = 0;
        return false;
    }
    server.health = Health::Bad;
    server.failures = server.failures.saturating_add(1);
    server.failures == GIVE_UP
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const ALL: [Health; 3] = [Health::Good, Health::Unknown, Health::Bad];

    fn server(address: &str, health: Health, is_given: bool) -> Server {
        Server {
            address: address.into(),
            is_given,
            health,
            failures: 0,
        }
    }

    /// Three servers, each in each state, named by the cluster or by the owner, for several nodes.
    #[test]
    fn every_state() {
        for node in ["w1", "w2", "w3"] {
            for states in 0..27 {
                for given in 0..8 {
                    let servers: Vec<_> = (0..3)
                        .map(|i| server(&format!("10.0.0.{i}:6443"), ALL[states / 3usize.pow(i) % 3], given >> i & 1 == 1))
                        .collect();
                    let order = order(&servers, node);
                    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 3, "all are tried");
                    let rank = |address: &str| {
                        let s = servers.iter().find(|s| s.address == address).unwrap();
                        (s.health, s.is_given)
                    };
                    assert!(order.windows(2).all(|w| rank(w[0]) <= rank(w[1])), "{order:?} {servers:?}");
                }
            }
        }
        assert!(order(&[], "w1").is_empty());
    }

    #[test]
    fn nodes_spread_over_servers() {
        let servers: Vec<_> = (1..=3).map(|i| server(&format!("10.0.0.{i}:6443"), Health::Good, false)).collect();
        let mut counts = [0; 3];
        for node in 0..300 {
            let first = order(&servers, &format!("worker-{node}"))[0];
            counts[servers.iter().position(|s| s.address == first).unwrap()] += 1;
        }
        assert!(counts.iter().all(|c| *c > 60), "{counts:?}");
    }

    /// When one is lost, only its nodes move.
    #[test]
    fn only_those_move_whose_server_is_lost() {
        let mut servers: Vec<_> = (1..=3).map(|i| server(&format!("10.0.0.{i}:6443"), Health::Good, false)).collect();
        for node in (0..50).map(|n| format!("worker-{n}")) {
            let before = order(&servers, &node)[0].to_owned();
            servers[0].health = Health::Bad;
            let after = order(&servers, &node)[0].to_owned();
            assert!(after == before || before == servers[0].address);
            servers[0].health = Health::Good;
        }
    }

    #[test]
    fn failures_and_answers() {
        let mut s = server("a", Health::Unknown, false);
        assert!(!heard(&mut s, false), "one lost answer cuts nothing");
        assert_eq!(s.health, Health::Bad);
        assert!(heard(&mut s, false), "the second does");
        assert!(!heard(&mut s, false), "once");
        assert!(!heard(&mut s, true));
        assert_eq!((s.health, s.failures), (Health::Good, 0));
    }

    #[test]
    fn a_new_list_keeps_what_is_known() {
        let before = [server("a", Health::Bad, false), server("b", Health::Good, true)];
        let list = |servers: &[&str], given: &[&str]| Servers {
            servers: servers.iter().map(|&s| s.to_owned()).collect(),
            given: given.iter().map(|&s| s.to_owned()).collect(),
        };
        assert_eq!(
            renewed(&before, &list(&["a", "c", "a"], &["b", "a"])),
            [
                server("a", Health::Bad, false),
                server("c", Health::Unknown, false),
                server("b", Health::Good, true)
            ]
        );
    }
}
