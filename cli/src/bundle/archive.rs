//! Which images an archive holds: an OCI layout or what `docker save` writes, in a tar file, plain, by gzip or by zstd.
//!
//! Unpackers (`flate2`, `ruzstd`) are confined to this file.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// No list of images is larger. Bytes.
const LIST_MAX: u64 = 4 << 20;

/// Names of the images in an archive, as they are kept.
pub fn images(path: &Path) -> Result<BTreeSet<String>> {
    let doing = || format!("reading {}", path.display());
    let file = BufReader::new(File::open(path).with_context(doing)?);
    let name = path.to_string_lossy().to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|end| name.ends_with(end));
    let found = if ends(&[".gz", ".tgz"]) {
        listed(flate2::read::MultiGzDecoder::new(file))
    } else if ends(&[".zst", ".zstd", ".tzst"]) {
        let unpacked = ruzstd::decoding::StreamingDecoder::new(file)
            .map_err(|why| anyhow::anyhow!("{why}"))
            .with_context(doing)?;
        listed(unpacked)
    } else {
        listed(file)
    };
    found.with_context(doing)
}

/// Reads a tar file to its end, and of it the two files that name images.
fn listed(mut tar: impl Read) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut is_archive = false;
    loop {
        let mut header = [0; 512];
        match tar.read_exact(&mut header) {
            Ok(()) => {}
            Err(why) if why.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(why) => return Err(why.into()),
        }
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let (name, size) = entry(&header).context("it is no tar file")?;
        let padded = size.checked_next_multiple_of(512).context("it is no tar file")?;
        let list = ["index.json", "manifest.json"].contains(&name.trim_start_matches("./"));
        let mut body = vec![];
        if list && size <= LIST_MAX {
            tar.by_ref().take(size).read_to_end(&mut body)?;
            is_archive = true;
            let value: Value = serde_json::from_slice(&body).with_context(|| format!("reading {name} in it"))?;
            names.extend(of_index(&value).into_iter().chain(of_docker(&value)));
        }
        let left = padded - body.len() as u64;
        if std::io::copy(&mut tar.by_ref().take(left), &mut std::io::sink())? != left {
            bail!("it is cut short");
        }
    }
    if !is_archive {
        bail!("it is no image archive: neither index.json nor manifest.json is in it");
    }
    Ok(names.iter().map(|name| super::find::full(name)).collect())
}

/// Name and size of a tar entry.
fn entry(header: &[u8; 512]) -> Option<(String, u64)> {
    let text = |from: usize, to: usize| {
        let field = header.get(from..to)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8(field.get(..end)?.to_vec()).ok()
    };
    let size = match header.get(124..136)? {
        // GNU's form for what is too large for octal.
        [0x80, rest @ ..] => rest
            .iter()
            .try_fold(0u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)))?,
        _ => u64::from_str_radix(text(124, 136)?.trim(), 8).ok()?,
    };
    Some((text(0, 100)?, size))
}

/// `index.json` of an OCI layout, as containerd, docker and our own maker write it.
fn of_index(value: &Value) -> Vec<String> {
    let manifests = value.get("manifests").and_then(Value::as_array);
    let name = |entry: &Value| {
        let annotation = |key: &str| entry.get("annotations")?.get(key)?.as_str();
        let named = annotation("io.containerd.image.name").or_else(|| annotation("org.opencontainers.image.ref.name"))?;
        // A tag alone names nothing.
        named.contains(['/', ':']).then(|| named.to_owned())
    };
    manifests.into_iter().flatten().filter_map(name).collect()
}

/// `manifest.json` of `docker save`.
fn of_docker(value: &Value) -> Vec<String> {
    let tags = value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|image| image.get("RepoTags")?.as_array());
    tags.flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut out = vec![];
        for (name, body) in files {
            let mut header = name.as_bytes().to_vec();
            header.resize(124, 0);
            header.extend(format!("{:011o}\0", body.len()).into_bytes());
            header.resize(512, 0);
            out.extend(header);
            out.extend(body.as_bytes());
            out.resize(out.len().next_multiple_of(512), 0);
        }
        out.resize(out.len() + 1024, 0);
        out
    }

    #[test]
    fn both_kinds_of_archives() {
        let oci = r#"{"manifests":[{"annotations":{"io.containerd.image.name":"skerry.local/hello:1","org.opencontainers.image.ref.name":"1"}},{"annotations":{"org.opencontainers.image.ref.name":"v1"}},{}]}"#;
        let docker = r#"[{"RepoTags":["nginx:1.27"]},{"RepoTags":null}]"#;
        let names = |files: &[(&str, &str)]| listed(&*tar(files)).map(|n| n.into_iter().collect::<Vec<_>>());
        assert_eq!(names(&[("blobs/x", "abc"), ("index.json", oci)]).unwrap(), ["skerry.local/hello:1"]);
        assert_eq!(names(&[("./manifest.json", docker)]).unwrap(), ["docker.io/library/nginx:1.27"]);
        for bad in [&[("other", "x")][..], &[("index.json", "{")], &[]] {
            assert!(listed(&*tar(bad)).is_err());
        }
        let whole = tar(&[("blobs/x", "abc"), ("index.json", oci)]);
        assert!(listed(&whole[..700]).is_err());
        assert!(listed(&b"not a tar file, but long enough to be taken for one".repeat(20)[..]).is_err());
    }

    #[test]
    fn packed_ones() {
        let folder = std::env::temp_dir().join(format!("skerry-bundle-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let body = tar(&[(
            "index.json",
            r#"{"manifests":[{"annotations":{"io.containerd.image.name":"a.io/b:1"}}]}"#,
        )]);
        let path = folder.join("b.tar.gz");
        let mut packer = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, &body).unwrap();
        packer.finish().unwrap();
        assert_eq!(images(&path).unwrap().into_iter().collect::<Vec<_>>(), ["a.io/b:1"]);
        let path = folder.join("b.tar.zst");
        let zstd = ruzstd::encoding::compress_to_vec(&*body, ruzstd::encoding::CompressionLevel::Fastest);
        skerry_sys::file::replace(&path, &zstd, 0o644).unwrap();
        assert_eq!(images(&path).unwrap().into_iter().collect::<Vec<_>>(), ["a.io/b:1"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
