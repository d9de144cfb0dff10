//! What this machine holds of a cluster already, against what its configuration asks for now: nothing may be begun anew beside it.

use super::datastore::Datastore;
use super::role::Role;

/// What lies on the data partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Held {
    /// A whole set of a server's keys.
    pub keys: bool,
    /// What a node that joined was told of its cluster.
    pub cluster: bool,
    /// Objects in SQLite.
    pub sqlite: bool,
    /// Objects in etcd.
    pub etcd: bool,
}

/// Why Kubernetes must not start as configured, and what to do; none where it may.
pub fn conflict(role: &Role, datastore: &Datastore, held: Held) -> Option<String> {
    let reset = "forget what is here by `skerry reset`";
    let why = match role {
        Role::Worker(_) if held.keys => {
            format!("this machine is a server of a cluster, and would become a worker of another: remove server_url, or {reset}")
        }
        Role::Server(_) if held.keys && !held.cluster => {
            format!("this machine has made a cluster of its own, and would join another: remove --server, or {reset}")
        }
        Role::Worker(_) => return None,
        _ => match datastore {
            // The first server moves them itself: see `change`.
            Datastore::Etcd if held.sqlite && !held.etcd && *role != Role::First => {
                format!("this machine holds objects in SQLite, and would take those of another server: {reset}")
            }
            Datastore::Sqlite if held.etcd && !held.sqlite => {
                format!("this cluster's objects are in etcd, and SQLite would begin empty: write --cluster-init again, or {reset}")
            }
            _ => return None,
        },
    };
    Some(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case() {
        let roles = [Role::First, Role::Server(vec![]), Role::Worker(vec![])];
        for role in &roles {
            for datastore in [Datastore::Sqlite, Datastore::Etcd] {
                for bits in 0..16u8 {
                    let held = Held {
                        keys: bits & 1 > 0,
                        cluster: bits & 2 > 0,
                        sqlite: bits & 4 > 0,
                        etcd: bits & 8 > 0,
                    };
                    let said = conflict(role, &datastore, held);
                    let server = role.is_server();
                    let other = match role {
                        Role::First => false,
                        Role::Server(_) => held.keys && !held.cluster,
                        Role::Worker(_) => held.keys,
                    };
                    let moved = *role == Role::First && datastore == Datastore::Etcd;
                    let empty = server && !moved && (held.sqlite ^ held.etcd) && (datastore == Datastore::Etcd) == held.sqlite;
                    assert_eq!(said.is_some(), other || empty, "{role:?} {datastore:?} {held:?}: {said:?}");
                    // What holds nothing may become anything.
                    assert!(bits != 0 || said.is_none());
                }
            }
        }
    }
}
