//! Container images written by us: an OCI image layout in a tar file, one layer, the same bytes for the same content.

use crate::digest;
use crate::ustar::Archive;
use anyhow::Result;
use serde_json::{Value, json};

/// A container image of a few files.
pub struct Image<'a> {
    /// Its full name, as in `skerry.local/pause:1`.
    pub name: &'a str,
    /// Folders of the layer, parents first.
    pub folders: &'a [&'a str],
    /// Files of the layer: path, mode, content.
    pub files: &'a [(&'a str, u32, &'a [u8])],
    /// Symbolic links of the layer: path and target.
    pub links: &'a [(&'a str, &'a str)],
    /// What runs.
    pub entrypoint: &'a [&'a str],
    /// Its default arguments.
    pub command: &'a [&'a str],
}

/// The archive, as `ctr images import` reads it.
pub fn archive(image: &Image<'_>) -> Result<Vec<u8>> {
    let mut layer = Archive::default();
    for folder in image.folders {
        layer.folder(folder)?;
    }
    for (path, mode, body) in image.files {
        layer.file(path, *mode, body)?;
    }
    for (path, target) in image.links {
        layer.link(path, target)?;
    }
    let layer = layer.finish();
    let config = serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Entrypoint": image.entrypoint, "Cmd": image.command, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest::of(&layer))] },
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))?;
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    if let Value::Object(fields) = &mut entry {
        let tag = image.name.rsplit(':').next().unwrap_or_default();
        fields.insert("platform".into(), json!({ "architecture": "amd64", "os": "linux" }));
        fields.insert(
            "annotations".into(),
            json!({ "io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": tag }),
        );
    }
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    }))?;
    let mut layout = Archive::default();
    layout.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    layout.file("index.json", 0o644, &index)?;
    for folder in ["blobs", "blobs/sha256"] {
        layout.folder(folder)?;
    }
    let mut blobs = [layer, config, manifest].map(|blob| (digest::of(&blob), blob));
    blobs.sort();
    for (name, blob) in &blobs {
        layout.file(&format!("blobs/sha256/{name}"), 0o644, blob)?;
    }
    Ok(layout.finish())
}

fn descriptor(kind: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": format!("sha256:{}", digest::of(blob)), "size": blob.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_holds_what_its_index_names() {
        let image = Image {
            name: "skerry.local/pause:1",
            folders: &[],
            files: &[("pause", 0o755, b"program")],
            links: &[],
            entrypoint: &["/pause"],
            command: &[],
        };
        let bytes = archive(&image).unwrap();
        assert_eq!(bytes, archive(&image).unwrap(), "the same bytes each time");
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(r#""io.containerd.image.name":"skerry.local/pause:1""#));
        for piece in text.split("sha256:").skip(1) {
            let named: String = piece.chars().take(64).collect();
            assert!(
                text.contains(&format!("blobs/sha256/{named}")) || text.contains("diff_ids"),
                "{named}"
            );
        }
    }
}
