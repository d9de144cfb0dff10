//! The release under test: the files of `out/`, and the maker that can make more of them.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// What `images` made.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its folder.
    pub dir: PathBuf,
    /// The whole `manifest.json`.
    pub manifest: Value,
}

impl Release {
    /// Reads the release in `SKERRY_OUT`, or in `out/`.
    pub fn read() -> Result<Self> {
        Self::read_from(&env::var_os("SKERRY_OUT").map_or_else(|| repository().join("out"), PathBuf::from))
    }

    /// Reads the release in a folder.
    pub fn read_from(dir: &Path) -> Result<Self> {
        let path = dir.join("manifest.json");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}; make it with `make image`", path.display()))?;
        let manifest = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            manifest,
        })
    }

    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }
    /// The initramfs.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd.img")
    }
    /// The root: EROFS and its verity tree.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root.img")
    }

    /// The first value in the manifest with one of these names, at any depth.
    pub fn value(&self, names: &[&str]) -> Option<String> {
        names
            .iter()
            .find_map(|name| search(&self.manifest, name))
            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
    }

    /// Root hash of the verity tree.
    pub fn roothash(&self) -> Result<String> {
        self.value(&["roothash", "root_hash", "verity_root_hash"])
            .context("reading manifest.json: it names no root hash")
    }
    /// Where the verity tree begins in the root, in bytes.
    pub fn hashoff(&self) -> Result<String> {
        self.value(&["hashoff", "hash_offset", "verity_hash_offset"])
            .context("reading manifest.json: it names no hash offset")
    }
}

fn search<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(name).or_else(|| map.values().find_map(|v| search(v, name))),
        Value::Array(list) => list.iter().find_map(|v| search(v, name)),
        _ => None,
    }
}

/// The folder that holds the workspace.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where build products go.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// The cargo that runs us, or the one on the path.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository());
    command
}

/// Runs the image maker with `arguments` and returns what it prints; its progress goes to our standard error.
pub fn images(arguments: &[&str]) -> Result<String> {
    let mut command = cargo();
    command
        .args([
            "run",
            "--quiet",
            "--profile",
            "tool",
            "--package",
            "skerry-images",
            "--bin",
            "images",
            "--",
        ])
        .args(arguments);
    let out = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo")?;
    if !out.status.success() {
        bail!("running `images {}`: {}; see its lines above", arguments.join(" "), out.status);
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The release with the full kernel: the folder that `SKERRY_FULL` names, the one under test if it has that kernel, else one that is
/// made now.
pub fn full(tested: &Release) -> Result<PathBuf> {
    let has_full_kernel = |release: &Release| release.value(&["kernel"]).is_some_and(|kernel| !kernel.contains("cloud"));
    if let Some(named) = env::var_os("SKERRY_FULL").map(PathBuf::from) {
        let release = Release::read_from(&named)?;
        if !has_full_kernel(&release) {
            bail!("reading {} (SKERRY_FULL): its kernel is not the full one", named.display());
        }
        return Ok(named);
    }
    if has_full_kernel(tested) {
        return Ok(tested.dir.clone());
    }
    let out = target().join("full");
    images(&["image", "--kernel", "full", "--out", &out.display().to_string()])?;
    Ok(out)
}

/// The OCI archive with the test image `skerry.local/hello:1`, made if it is not there.
pub fn hello() -> Result<PathBuf> {
    if let Some(path) = env::var_os("SKERRY_HELLO") {
        return Ok(PathBuf::from(path));
    }
    let out = images(&["fixture"])?;
    let path = repository().join(out.lines().last().unwrap_or_default().trim());
    if !path.is_file() {
        bail!("making the test image: `images fixture` names {}, which is no file", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_found_at_any_depth() {
        let release = Release {
            dir: PathBuf::new(),
            manifest: json!({"version": "1", "parts": [{"root": {"hashoff": 4096, "roothash": "ab"}}]}),
        };
        assert_eq!(release.roothash().unwrap(), "ab");
        assert_eq!(release.hashoff().unwrap(), "4096");
        assert_eq!(release.value(&["absent"]), None);
    }
}
