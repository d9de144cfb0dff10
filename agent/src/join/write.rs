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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Backend, Cluster, Servers};
    use crate::join::kept;
    use std::path::Path;

    const CA: &str = include_str!("../../tests/authority/ec.crt");

    /// Whatever write a power cut follows, the node is no member before the last one; and then it is.
    #[test]
    fn every_prefix() {
        let root = std::env::temp_dir().join(format!("skerry-write-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let places = Places::below(&root);
        let text = |path: &Path| std::fs::read_to_string(path).ok();
        let key = include_str!("../../tests/authority/ec.key");
        // The authority's own certificate stands in for a node's: it is signed by the authority, too.
        let member = Member {
            ca: CA.into(),
            cluster: Cluster {
                pods: String::new(),
                pods6: None,
                services: String::new(),
                services6: None,
                dns: [10, 43, 0, 10].into(),
                domain: String::new(),
                backend: Backend::Vxlan,
                kubernetes: String::new(),
            },
            servers: Servers::default(),
            certificate: CA.into(),
        };
        let plan = plan(&places, "w1", &member, key);
        for done in 0..=plan.len() {
            perform(&plan[..done]).unwrap();
            let (conf, ca) = (text(&places.kubelet_conf()), text(&places.ca()));
            let why = kept::why_join(&kept::Facts {
                conf: conf.as_deref(),
                ca: ca.as_deref(),
                has_cluster: files::read::<Cluster>(&places.cluster()).is_ok() && files::read::<Servers>(&places.servers()).is_ok(),
                node_name: "w1",
                pin: None,
                now: 0,
            })
            .unwrap();
            let is_whole = why.contains("are for kubernetes");
            assert_eq!(is_whole, done == plan.len(), "{done}: {why}");
        }
    }
}
