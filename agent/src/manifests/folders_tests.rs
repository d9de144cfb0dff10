use super::*;
use std::time::Duration;

fn put(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    file::replace(path, text.as_bytes(), 0o644).unwrap();
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

#[test]
fn what_is_found() {
    let dir = Temp::new("found");
    let root = &dir.0;
    put(root, "a/one.yaml", &map("one"));
    put(root, "a/deep/er/two.yml", &map("two"));
    put(
        root,
        "a/three.json",
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"three"}}"#,
    );
    put(root, "a/readme.txt", "no");
    put(root, "a/bad.yaml", "a: [");
    put(root, "a/empty.yaml", "");
    put(root, "b/off.yaml", &map("off"));
    put(root, "a/off.yaml.skip", "");
    put(root, "b/deep/er/two.yml.skip", "");
    let names = ["/a/".to_owned(), "/b".to_owned(), "/none/such".to_owned()];
    let found = look(root, &names);
    let shown: Vec<(String, String)> = found
        .folders
        .files
        .iter()
        .map(|(path, file)| {
            let what = match file {
                File::Read(objects) => objects.iter().map(|o| o.id.to_string()).collect::<Vec<_>>().join(", "),
                File::Skipped => "skipped".into(),
                File::Bad(_) => "bad".into(),
            };
            (path.clone(), what)
        })
        .collect();
    let expected = [
        ("/a/bad.yaml", "bad"),
        ("/a/deep/er/two.yml", "skipped"),
        ("/a/empty.yaml", ""),
        ("/a/one.yaml", "ConfigMap one"),
        ("/a/three.json", "ConfigMap three"),
        ("/b/off.yaml", "skipped"),
    ];
    let expected: Vec<(String, String)> = expected.iter().map(|(p, w)| ((*p).into(), (*w).into())).collect();
    assert_eq!(shown, expected);
    assert!(found.folders.unread.is_empty());
    assert!(list(root, &names).dirs.contains(root), "where the third will be made");

    assert_eq!(look(root, &names).digest, found.digest);
    put(root, "a/one.yaml", &map("other"));
    let changed = look(root, &names).digest;
    assert_ne!(changed, found.digest);
    put(root, "a/one.yaml.skip", "");
    assert_ne!(look(root, &names).digest, changed);
}

#[test]
fn a_folder_that_is_none_and_a_file_too_large() {
    let dir = Temp::new("bounds");
    put(&dir.0, "file", "");
    let found = look(&dir.0, &["/file".to_owned()]);
    assert_eq!(found.folders.unread.keys().collect::<Vec<_>>(), ["/file"]);
    put(&dir.0, "a/big.yaml", &"#".repeat(LARGEST + 1));
    let found = look(&dir.0, &["/a".to_owned()]);
    assert!(matches!(found.folders.files.get("/a/big.yaml"), Some(File::Bad(_))));
}

#[tokio::test]
async fn changes_are_heard() {
    let dir = Temp::new("heard");
    let names = ["/not/yet".to_owned()];
    let soon = Duration::from_secs(10);
    let ear = Ear::open(&dir.0, &names).unwrap();
    assert!(!ear.drain());
    std::fs::create_dir(dir.0.join("not")).unwrap();
    tokio::time::timeout(soon, ear.changed()).await.unwrap();
    std::fs::create_dir(dir.0.join("not/yet")).unwrap();
    let ear = Ear::open(&dir.0, &names).unwrap();
    put(&dir.0, "not/yet/x.yaml", &map("x"));
    tokio::time::timeout(soon, ear.changed()).await.unwrap();
    assert!(!ear.drain());
    std::fs::remove_file(dir.0.join("not/yet/x.yaml")).unwrap();
    tokio::time::timeout(soon, ear.changed()).await.unwrap();
}

/// A directory of its own, removed in the end.
struct Temp(PathBuf);

impl Temp {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("skerry-manifests-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
