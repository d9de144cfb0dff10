//! Requests to the API server, by curl: a start of kubectl takes a small machine seconds, just when the node needs them.

use super::look;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use skerry_distribution::kubernetes::paths::{CONF, LOCAL_API, PKI, RUN};
use skerry_distribution::kubernetes::{kubeconfig, manifests};
use skerry_sys::file;
use std::fmt::Write;
use std::process::{Child, Command, Stdio};

/// Whose certificate is shown.
#[derive(Debug, Clone, Copy)]
pub enum Who {
    /// The node's own.
    Node,
    /// One that may do everything, for one-shots.
    Admin,
}

/// The certificate and key of a kubeconfig, as curl takes them: a file that only root can read, in memory.
fn identity(who: Who) -> Result<String> {
    let conf = match who {
        Who::Node => "kubelet.conf",
        Who::Admin => "super-admin.conf",
    };
    let pem = kubeconfig::identity(&look::text(format!("{CONF}/{conf}")))
        .with_context(|| format!("reading {CONF}/{conf}: no certificate in it"))?;
    let path = format!("{RUN}/kine/{conf}.pem");
    file::replace(&path, &pem, 0o600)?;
    Ok(path)
}

/// Begins to watch. What the server says comes on standard output, one JSON object after the other.
pub fn watch(who: Who, path: &str) -> Result<Child> {
    let identity = identity(who)?;
    let (ca, url) = (format!("{PKI}/ca.crt"), format!("{LOCAL_API}{path}"));
    Command::new("/usr/bin/curl")
        .args(["--silent", "--show-error", "--fail-with-body", "--no-buffer", "--noproxy", "*"])
        .args(["--cacert", &ca, "--cert", &identity, &url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("running curl")
}

/// One object, as it is now.
pub fn get(who: Who, path: &str) -> Result<Value> {
    let done = watch(who, path)?.wait_with_output().context("running curl")?;
    let answer: Value = serde_json::from_slice(&done.stdout).with_context(|| format!("reading {path}"))?;
    if !done.status.success() {
        bail!("reading {path}: {}", message(&answer));
    }
    Ok(answer)
}

/// One change.
pub struct Patch {
    /// Where the object lies.
    pub path: String,
    /// `apply-patch+yaml`, `merge-patch+json`.
    pub kind: &'static str,
    /// What to change.
    pub body: Value,
}

/// Objects of ours as server-side apply takes them: fields are owned by name, and ours win over what somebody changed by hand.
pub fn apply(objects: &[Value]) -> Result<()> {
    let patch = |o: &Value| {
        let path = manifests::path(o)?;
        Some(Patch {
            path: format!("{path}?fieldManager=skerry&force=true"),
            kind: "apply-patch+yaml",
            body: o.clone(),
        })
    };
    send(Who::Admin, &objects.iter().filter_map(patch).collect::<Vec<_>>())
}

/// Sends changes in one process, one connection. All are tried; the first that was refused is the error.
pub fn send(who: Who, patches: &[Patch]) -> Result<()> {
    // Two steps may be at it at the same time.
    let dir = format!("{RUN}/patches.{}", std::process::id());
    file::make_dir(&dir, 0o700)?;
    let identity = identity(who)?;
    let mut config = String::new();
    for (at, patch) in patches.iter().enumerate() {
        file::replace(format!("{dir}/{at}.json"), patch.body.to_string().as_bytes(), 0o600)?;
        if at > 0 {
            config.push_str("next\n");
        }
        write!(
            config,
            "silent\nshow-error\nmax-time = 60\nnoproxy = \"*\"\ncacert = \"{PKI}/ca.crt\"\ncert = \"{identity}\"\nrequest = \"PATCH\"\n\
             header = \"Content-Type: application/{}\"\ndata-binary = \"@{dir}/{at}.json\"\noutput = \"{dir}/{at}.answer\"\n\
             write-out = \"%{{http_code}}\\n\"\nurl = \"{LOCAL_API}{}\"\n",
            patch.kind, patch.path
        )?;
    }
    let path = format!("{dir}/curl");
    file::replace(&path, config.as_bytes(), 0o600)?;
    let done = Command::new("/usr/bin/curl")
        .args(["--config", &path])
        .stdin(Stdio::null())
        .output()
        .context("running curl")?;
    eprint!("{}", String::from_utf8_lossy(&done.stderr));
    let codes = String::from_utf8_lossy(&done.stdout).into_owned();
    let mut codes = codes.lines();
    let mut refused = None;
    for (at, patch) in patches.iter().enumerate() {
        let code = codes.next().unwrap_or("000");
        if !code.starts_with('2') {
            let answer: Value = serde_json::from_str(&look::text(format!("{dir}/{at}.answer"))).unwrap_or_default();
            eprintln!("changing {}: {code} {}", patch.path, message(&answer));
            refused.get_or_insert_with(|| format!("changing {}: {code} {}", patch.path, message(&answer)));
        }
    }
    // Secrets are among them.
    std::fs::remove_dir_all(&dir).with_context(|| format!("removing {dir}"))?;
    match refused {
        Some(first) => bail!("{first}"),
        None => Ok(()),
    }
}

/// Why the server refused.
pub fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or("the API server did not answer")
}
