//! The workload of tests and of `make run`: a small container image with busybox, never part of the product's image.

use crate::oci::{self, Image};
use crate::tools::Root;
use anyhow::{Context, Result};
use std::fs;

/// Its name.
pub const NAME: &str = "skerry.local/hello:1";

const APPLETS: &[&str] = &[
    "cat", "date", "echo", "env", "false", "free", "hostname", "httpd", "id", "ip", "ls", "mkdir", "nc", "nslookup", "ping", "ps", "sh",
    "sleep", "stat", "test", "touch", "true", "wget",
];

/// The archive, from the tools root's busybox.
pub fn hello(tools: &Root) -> Result<Vec<u8>> {
    let path = tools.path().join("usr/bin/busybox");
    let busybox = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let paths: Vec<String> = APPLETS.iter().map(|applet| format!("bin/{applet}")).collect();
    let links: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "busybox")).collect();
    oci::archive(&Image {
        name: NAME,
        folders: &["bin", "etc", "tmp"],
        files: &[
            ("bin/busybox", 0o755, &busybox),
            ("etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n"),
        ],
        links: &links,
        entrypoint: &[],
        command: &["/bin/sh", "-c", "echo hello from a pod; exec sleep 2147483647"],
    })
}
