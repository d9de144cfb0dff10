//! Images out of registries, by skopeo(1): it knows their protocol, their logins and their mirrors.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How images are pulled.
#[derive(Debug, Clone)]
pub struct Way {
    /// For which machines, in Go's words: `amd64`, `arm64`.
    pub arch: String,
    /// Registries need not prove who they are, nor speak TLS.
    pub insecure: bool,
}

/// In the words of container images; those of other machines are told as they are.
pub fn this_arch() -> String {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
    .to_owned()
}

/// The archive's name: of characters that every file system takes.
pub fn archive_name(image: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' }
    };
    image.chars().map(plain).collect::<String>() + ".tar"
}

fn arguments(image: &str, way: &Way, to: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["copy", "--quiet", "--override-os", "linux", "--override-arch", &way.arch]
        .map(OsString::from)
        .into();
    words.extend(way.insecure.then(|| "--src-tls-verify=false".into()));
    words.push(format!("docker://{image}").into());
    let mut target = OsString::from("oci-archive:");
    target.push(to);
    // The name that containerd will know it by.
    target.push(format!(":{image}"));
    words.push(target);
    words
}

/// Pulls an image into an archive of its own below `folder`: whole, or not there.
pub fn pull(image: &str, way: &Way, folder: &Path) -> Result<PathBuf> {
    let path = folder.join(archive_name(image));
    let beside = path.with_extension("new");
    // skopeo adds to an archive that is there.
    let _ = std::fs::remove_file(&beside);
    let out = match Command::new("skopeo").args(arguments(image, way, &beside)).output() {
        Err(why) if why.kind() == ErrorKind::NotFound => bail!(
            "skopeo is not installed / try: apt-get install skopeo; or save the image by `ctr images export`, and name the archive by --image"
        ),
        out => out.context("starting skopeo")?,
    };
    if !out.status.success() {
        let _ = std::fs::remove_file(&beside); // it may not be there
        let said = String::from_utf8_lossy(&out.stderr);
        bail!("{}", reason(&said));
    }
    let doing = || format!("keeping {}", path.display());
    std::fs::File::open(&beside).and_then(|f| f.sync_all()).with_context(doing)?;
    std::fs::rename(&beside, &path).with_context(doing)?;
    Ok(path)
}

/// The message within skopeo's log line: `time="…" level=fatal msg="…"`.
fn reason(said: &str) -> String {
    let last = said
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it failed, and said nothing");
    let message = last.split_once("msg=\"").and_then(|(_, rest)| rest.strip_suffix('"'));
    message.unwrap_or(last).replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_skopeo_is_told() {
        let way = Way {
            arch: "arm64".into(),
            insecure: true,
        };
        let words = arguments("docker.io/library/nginx:1.27", &way, Path::new("/b/x.new"));
        let words: Vec<_> = words.iter().map(|w| w.to_string_lossy()).collect();
        assert_eq!(
            words.join(" "),
            "copy --quiet --override-os linux --override-arch arm64 --src-tls-verify=false docker://docker.io/library/nginx:1.27 \
             oci-archive:/b/x.new:docker.io/library/nginx:1.27"
        );
        assert_eq!(archive_name("127.0.0.1:5000/a/b@sha256:ab"), "127.0.0.1_5000_a_b_sha256_ab.tar");
    }

    #[test]
    fn why_it_failed() {
        let line = "time=\"2026-01-01T00:00:00Z\" level=fatal msg=\"initializing source \\\"a\\\": manifest unknown\"\n";
        assert_eq!(reason(line), "initializing source \"a\": manifest unknown");
        assert_eq!(reason("plain"), "plain");
        assert_eq!(reason(""), "it failed, and said nothing");
    }
}
