//! `skerry bundle --pull` out of a real registry (Debian's docker-registry), by the real skopeo. Where one of them is not installed
//! (`apt-get install skopeo docker-registry`), nothing is tested here, and it says so.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(clippy::disallowed_methods, reason = "temporary files of a test")]

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

struct Registry {
    child: Child,
    port: u16,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn start(folder: &Path) -> Self {
        let config = folder.join("registry.yml");
        let storage = folder.join("registry");
        let text = json!({
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": storage}},
            "http": {"addr": "127.0.0.1:0"},
        });
        fs::write(&config, text.to_string()).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split("listening on 127.0.0.1:").nth(1)?.split(['"', ',']).next()?.parse().ok())
            .unwrap();
        // It must be able to go on talking.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn hex(bytes: &[u8]) -> String {
    skerry_installer::content::Digest(Sha256::digest(bytes).into()).to_string()
}

fn blob(layout: &Path, bytes: &[u8]) -> Value {
    let hex = hex(bytes);
    let folder = layout.join("blobs/sha256");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&hex), bytes).unwrap();
    json!({"digest": format!("sha256:{hex}"), "size": bytes.len()})
}

/// An image of an empty layer for two kinds of machines.
fn layout(at: &Path) {
    let with = |mut described: Value, more: Value| {
        described.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        described
    };
    let image = |kind: &str| format!("application/vnd.oci.image.{kind}");
    let manifests: Vec<Value> = ["amd64", "arm64"]
        .into_iter()
        .map(|arch| {
            let layer = [0; 1024];
            let hex = hex(&layer);
            let config = json!({"architecture": arch, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{hex}")]}});
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": image("manifest.v1+json"),
                "config": with(blob(at, config.to_string().as_bytes()), json!({"mediaType": image("config.v1+json")})),
                "layers": [with(blob(at, &layer), json!({"mediaType": image("layer.v1.tar")}))],
            });
            let described = blob(at, manifest.to_string().as_bytes());
            with(described, json!({"mediaType": image("manifest.v1+json"), "platform": {"architecture": arch, "os": "linux"}}))
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": image("index.v1+json"), "manifests": manifests});
    let index = with(
        blob(at, index.to_string().as_bytes()),
        json!({"mediaType": image("index.v1+json"), "annotations": {"org.opencontainers.image.ref.name": "two"}}),
    );
    let top = json!({"schemaVersion": 2, "manifests": [index]});
    fs::write(at.join("index.json"), top.to_string()).unwrap();
    fs::write(at.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn skerry(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skerry"));
    command.args(words).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The architecture that the config of an archive's image names.
fn arch(archive: &Path) -> String {
    let out = Command::new("skopeo")
        .args(["inspect", "--config", "--override-arch", "arm64"])
        .arg(format!("oci-archive:{}", archive.display()))
        .output()
        .unwrap();
    let config: Value = serde_json::from_slice(&out.stdout).unwrap();
    config["architecture"].as_str().unwrap().to_owned()
}

#[test]
fn images_come_out_of_a_registry() {
    if !is_installed("skopeo") || !is_installed("docker-registry") {
        // Not by println!, which is kept from who reads whether anything was skipped.
        let why = "skipped: skopeo and docker-registry are not both installed (apt-get install skopeo docker-registry)";
        writeln!(std::io::stderr(), "{why}").unwrap();
        return;
    }
    let folder: PathBuf = std::env::temp_dir().join(format!("skerry-bundle-pull-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("layout")).unwrap();
    let registry = Registry::start(&folder);
    layout(&folder.join("layout"));
    let image = format!("127.0.0.1:{}/shop/till:2", registry.port);
    let pushed = Command::new("skopeo")
        .args(["copy", "--all", "--dest-tls-verify=false"])
        .arg(format!("oci:{}:two", folder.join("layout").display()))
        .arg(format!("docker://{image}"))
        .output()
        .unwrap();
    assert!(pushed.status.success(), "{}", text(&pushed.stderr));
    let absent = format!("127.0.0.1:{}/shop/none:1", registry.port);
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: till}}\nspec:\n  containers:\n  - {{name: a, image: {image:?}}}\n  - {{name: b, image: {absent:?}}}\n"
    );
    fs::write(folder.join("till.yaml"), manifest).unwrap();

    let words = [
        "bundle",
        "--manifest",
        "till.yaml",
        "--pull",
        "--insecure",
        "--arch",
        "arm64",
        "--out",
        "out",
    ];
    let out = skerry(&folder, &words);
    let (said, errors) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{said}{errors}");
    assert!(said.contains(&format!("found    {image} in ")), "{said}{errors}");
    assert!(said.contains(&format!("missing  {absent}, which till.yaml asks for")), "{said}");
    assert!(errors.contains(&format!("pulling {image} (")), "{errors}");
    assert!(
        errors.contains(&format!("pulling {absent}: ")) && errors.contains("unknown"),
        "{errors}"
    );
    let images: Vec<PathBuf> = fs::read_dir(folder.join("out/agent/images"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(images.len(), 1, "{images:?}");
    assert_eq!(arch(&images[0]), "arm64");

    // What was pulled once is an archive like any other: the next bundle takes it, and asks nobody.
    drop(registry);
    let words = ["bundle", "--wants", &image, "--image", "out/agent/images", "--out", "again"];
    let out = skerry(&folder, &words);
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
    fs::remove_dir_all(&folder).unwrap();
}
