//! The files of a member, in an order that a power cut may end anywhere: `kubelet.conf`, which makes a member, comes last.

use super::ask::Member;
use crate::issue::Credentials;
use crate::places::Places;
use crate::{files, kubeconfig};
use anyhow::Result;
use skerry_sys::file;
use std::path::PathBuf;

/// One file to replace.
pub struct File {
    /// Where.
    pub path: PathBuf,
    /// Its directory's permissions, where it has to be made.
    pub dir_mode: u32,
    /// Permissions.
    pub mode: u32,
    /// Content.
    pub text: Vec<u8>,
}

/// All files, first to last.
pub fn plan(places: &Places, node_name: &str, member: &Member, key: &str) -> Vec<File> {
    let credentials = Credentials {
        certificate: member.certificate.clone(),
        key: key.to_owned(),
    };
    let file = |path, dir_mode, mode, text| File {
        path,
        dir_mode,
        mode,
        text,
    };
    vec![
        file(places.ca(), 0o755, 0o644, member.ca.clone()),
        file(places.cluster(), 0o700, 0o644, files::text(&member.cluster).into_bytes()),
        file(places.servers(), 0o700, 0o644, files::text(&member.servers).into_bytes()),
        file(
            places.kubelet_conf(),
            0o700,
            0o600,
            kubeconfig::of_node(node_name, &member.ca, &credentials).into_bytes(),
        ),
    ]
}

/// Writes them.
pub fn perform(plan: &[File]) -> Result<()> {
    // The inner directory is open, the outer one is not: it also holds credentials.
    if let Some(outer) = plan.last().and_then(|f| f.path.parent()) {
        file::make_dir(outer, 0o700)?;
    }
    for f in plan {
        if let Some(dir) = f.path.parent() {
            file::make_dir(dir, f.dir_mode)?;
        }
        file::replace(&f.path, &f.text, f.mode)?;
    }
    Ok(())
}
