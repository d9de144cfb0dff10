//! `config.yaml` on the medium that was booted (the ISO): as weak a source as the ESP's, in whose place it is there.
//!
//! Stage 1 has mounted the medium, and left it so: [`AT`].

use crate::root::Root;
use crate::sources;
use skerry_config::{Source, SourceKind};

/// Where the medium is; nothing is mounted there if the machine was not booted from one.
pub const AT: &str = "/run/skerry/medium";
/// The owner's files on it, the weaker one first: k3OS's place for a remastered ISO, and ours.
const FILES: [&str; 2] = ["k3os/system/config.yaml", "config.yaml"];

/// What is there, and what is there but cannot be read.
pub fn look(root: &Root) -> (Vec<Source>, Vec<String>) {
    let (mut found, mut unread) = (vec![], vec![]);
    for file in FILES {
        let name = format!("medium:/{file}");
        match sources::read(&root.at(format!("{AT}/{file}"))) {
            Ok(bytes) => found.push(Source::new(SourceKind::Esp, name, bytes)),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => unread.push(format!("reading {name}: {why}; this boot goes on without it")),
        }
    }
    (found, unread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn both_places_are_looked_at_and_ours_wins() {
        let root = scratch("medium");
        assert_eq!(look(&root), (vec![], vec![]), "no medium");
        root.write("/run/skerry/medium/config.yaml", "hostname: ours\n", 0o644).unwrap();
        root.write("/run/skerry/medium/k3os/system/config.yaml", "hostname: k3os\n", 0o644)
            .unwrap();
        let (found, unread) = look(&root);
        assert_eq!(unread, Vec::<String>::new());
        let loaded = skerry_config::load(&skerry_config::order(found));
        assert_eq!(loaded.config.hostname.as_deref(), Some("ours"));
    }

    #[test]
    fn what_is_no_file_is_named() {
        let root = scratch("medium-folder");
        std::fs::create_dir_all(root.at("/run/skerry/medium/config.yaml")).unwrap();
        let (found, unread) = look(&root);
        assert!(found.is_empty());
        assert_eq!(
            unread,
            ["reading medium:/config.yaml: it is not a regular file; this boot goes on without it"]
        );
    }
}
