//! What is to be applied, and what of ours is to be removed, because no file asks for it any more.

use super::objects::{Id, Object, rank};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What became of one file.
#[derive(Debug, Clone, PartialEq)]
pub enum File {
    /// Its objects.
    Read(Vec<Object>),
    /// `NAME.skip` lies beside it: neither applied nor removed, as in k3s.
    Skipped,
    /// It is there, and not understood: what it once made stays.
    Bad(String),
}

/// All folders, as they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Folders {
    /// By path.
    pub files: BTreeMap<String, File>,
    /// Folders that could not be read: what lay there may still lie there.
    pub unread: BTreeMap<String, String>,
}

/// An object that we made, or are about to make, for a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owned {
    /// The file's path.
    pub file: String,
    /// The object.
    #[serde(flatten)]
    pub id: Id,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// In this order: file, object.
    pub apply: Vec<(String, Object)>,
    /// In this order.
    pub prune: Vec<Owned>,
    /// What is ours when all of it is done.
    pub after: BTreeSet<Owned>,
    /// By file or folder.
    pub problems: BTreeMap<String, String>,
}

/// Without these there is no cluster.
const PROTECTED: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Decides. `ours`: what this node made; `others`: what the agents of other servers made.
pub fn plan(folders: &Folders, ours: &BTreeSet<Owned>, others: &BTreeSet<Owned>) -> Plan {
    let mut plan = Plan {
        problems: folders.unread.clone(),
        ..Plan::default()
    };
    let mut wanted: BTreeMap<(&str, &str, &str, &str), &str> = BTreeMap::new();
    for (path, file) in &folders.files {
        match file {
            File::Bad(why) => {
                plan.problems.insert(path.clone(), why.clone());
            }
            File::Skipped => {}
            File::Read(objects) => {
                for object in objects {
                    if let Some(first) = wanted.get(&object.id.object()) {
                        let why = format!("{} is in {first} as well: that one counts", object.id);
                        plan.problems.insert(path.clone(), why);
                        continue;
                    }
                    wanted.insert(object.id.object(), path);
                    plan.apply.push((path.clone(), object.clone()));
                }
            }
        }
    }
    // Stable: else in the order of files, and in them as written.
    plan.apply.sort_by_key(|(_, object)| rank(&object.id));
    for (path, object) in &plan.apply {
        plan.after.insert(Owned {
            file: path.clone(),
            id: object.id.clone(),
        });
    }
    let elsewhere: BTreeSet<_> = others.iter().map(|o| o.id.object()).collect();
    for owned in ours {
        let gone = match folders.files.get(&owned.file) {
            Some(File::Read(_)) => true,
            Some(File::Skipped | File::Bad(_)) => false,
            None => !folders.unread.keys().any(|dir| owned.file.starts_with(&format!("{dir}/"))),
        };
        let protected = owned.id.kind == "Namespace" && PROTECTED.contains(&owned.id.name.as_str());
        if wanted.contains_key(&owned.id.object()) {
            // Perhaps by another file, or in another version: `after` has it as it is now.
        } else if !gone {
            plan.after.insert(owned.clone());
        } else if !protected && !elsewhere.contains(&owned.id.object()) {
            plan.prune.push(owned.clone());
        }
    }
    plan.prune.sort_by_key(|owned| std::cmp::Reverse(rank(&owned.id)));
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn id(kind: &str, name: &str) -> Id {
        Id {
            api_version: "v1".into(),
            kind: kind.into(),
            namespace: String::new(),
            name: name.into(),
        }
    }

    fn object(kind: &str, name: &str) -> Object {
        Object {
            id: id(kind, name),
            body: json!({}),
        }
    }

    fn owned(file: &str, kind: &str, name: &str) -> Owned {
        Owned {
            file: file.into(),
            id: id(kind, name),
        }
    }

    fn folders(files: &[(&str, File)]) -> Folders {
        Folders {
            files: files.iter().map(|(p, f)| ((*p).to_owned(), f.clone())).collect(),
            unread: BTreeMap::new(),
        }
    }

    fn set(list: &[Owned]) -> BTreeSet<Owned> {
        list.iter().cloned().collect()
    }

    #[test]
    fn namespaces_and_new_kinds_come_first_and_go_last() {
        let read = File::Read(vec![
            object("Deployment", "d"),
            object("CustomResourceDefinition", "c"),
            object("Namespace", "n"),
        ]);
        let first = plan(&folders(&[("/m/a.yaml", read)]), &set(&[]), &set(&[]));
        let order: Vec<&str> = first.apply.iter().map(|(_, o)| o.id.kind.as_str()).collect();
        assert_eq!(order, ["Namespace", "CustomResourceDefinition", "Deployment"]);
        let last = plan(&folders(&[]), &first.after, &set(&[]));
        let order: Vec<&str> = last.prune.iter().map(|o| o.id.kind.as_str()).collect();
        assert_eq!(order, ["Deployment", "CustomResourceDefinition", "Namespace"]);
        assert!(last.after.is_empty());
    }

    #[test]
    fn what_is_removed_and_what_stays() {
        let ours = set(&[owned("/m/a.yaml", "ConfigMap", "x")]);
        let none = set(&[]);
        let pruned = |folders: &Folders, others: &BTreeSet<Owned>| plan(folders, &ours, others).prune.len();
        assert_eq!(pruned(&folders(&[]), &none), 1, "the file is gone");
        assert_eq!(
            pruned(&folders(&[("/m/a.yaml", File::Read(vec![]))]), &none),
            1,
            "it is no longer in it"
        );
        for stays in [File::Skipped, File::Bad("x".into())] {
            let done = plan(&folders(&[("/m/a.yaml", stays)]), &ours, &none);
            assert_eq!((done.prune.len(), &done.after), (0, &ours));
        }
        let mut unread = folders(&[]);
        unread.unread.insert("/m".into(), "I/O error".into());
        assert_eq!(pruned(&unread, &none), 0, "who knows");
        assert_eq!(plan(&unread, &ours, &none).after, ours);
        unread.unread = BTreeMap::from([("/other".to_owned(), String::new())]);
        assert_eq!(pruned(&unread, &none), 1);
        assert_eq!(
            pruned(&folders(&[]), &set(&[owned("/z/q.yaml", "ConfigMap", "x")])),
            0,
            "another server has it"
        );
        let renamed = plan(&folders(&[("/m/b.yaml", File::Read(vec![object("ConfigMap", "x")]))]), &ours, &none);
        assert_eq!(
            (renamed.prune.len(), renamed.after),
            (0, set(&[owned("/m/b.yaml", "ConfigMap", "x")]))
        );
        for name in PROTECTED {
            assert_eq!(plan(&folders(&[]), &set(&[owned("/m/a", "Namespace", name)]), &none).prune, []);
        }
    }

    #[test]
    fn two_files_that_say_the_same() {
        let one = File::Read(vec![object("ConfigMap", "x")]);
        let done = plan(&folders(&[("/m/b", one.clone()), ("/m/a", one)]), &set(&[]), &set(&[]));
        assert_eq!(done.apply.len(), 1);
        assert_eq!(done.problems["/m/b"], "ConfigMap x is in /m/a as well: that one counts");
    }

    fn any_file() -> impl Strategy<Value = File> {
        prop_oneof![
            proptest::collection::vec((0..2usize, 0..4u8), 0..4).prop_map(|l| File::Read(
                l.into_iter()
                    .map(|(k, n)| object(["ConfigMap", "Namespace"][k], &format!("o{n}")))
                    .collect()
            )),
            Just(File::Skipped),
            Just(File::Bad("bad".into())),
        ]
    }

    proptest! {
        /// Whatever the folders become: nothing that a file asks for is removed, nothing is forgotten that is neither, and doing the
        /// plan leads to where there is nothing to remove.
        #[test]
        fn any_folders(steps in proptest::collection::vec(proptest::collection::btree_map("[abc]", any_file(), 0..3), 1..5)) {
            let mut ours = BTreeSet::new();
            for files in steps {
                let folders = Folders { files, unread: BTreeMap::new() };
                let done = plan(&folders, &ours, &BTreeSet::new());
                for owned in &done.prune {
                    prop_assert!(done.apply.iter().all(|(_, o)| o.id.object() != owned.id.object()));
                    prop_assert!(ours.contains(owned));
                }
                for owned in &ours {
                    let kept = done.after.iter().any(|o| o.id.object() == owned.id.object());
                    prop_assert!(kept != done.prune.contains(owned));
                }
                ours = done.after;
                prop_assert_eq!(plan(&folders, &ours, &BTreeSet::new()).prune, vec![]);
            }
        }
    }
}
