//! Our Go programs: what is built from which module, and with which flags.

use crate::cache::Cache;
use crate::digest::Key;
use crate::run;
use crate::toolchain::Toolchain;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A go.mod under `images/` and what is built from it.
struct Module {
    /// Its folder.
    folder: &'static str,
    /// The module whose version in go.mod is the family's version.
    pinned: &'static str,
    /// Build tags beside `netgo,osusergo`.
    tags: &'static str,
    /// Variables set at link time; `VERSION`, `MAJOR` and `MINOR` stand for the pinned version's parts.
    variables: &'static [&'static str],
    /// Package and the program's name.
    programs: &'static [(&'static str, &'static str)],
}

const MODULES: &[Module] = &[
    Module {
        folder: "kubernetes",
        pinned: "k8s.io/kubernetes",
        tags: "providerless",
        variables: &[
            "k8s.io/component-base/version.gitVersion=VERSION",
            "k8s.io/component-base/version.gitMajor=MAJOR",
            "k8s.io/component-base/version.gitMinor=MINOR",
            "k8s.io/component-base/version.gitTreeState=clean",
        ],
        programs: &[(".", "kubernetes")],
    },
    Module {
        folder: "containerd",
        pinned: "github.com/containerd/containerd/v2",
        tags: "no_btrfs,no_zfs,no_devmapper,urfave_cli_no_docs",
        variables: &["github.com/containerd/containerd/v2/version.Version=VERSION"],
        programs: &[(".", "containerd"), ("./shim", "containerd-shim-runc-v2")],
    },
    Module {
        folder: "cni",
        pinned: "github.com/containernetworking/plugins",
        tags: "",
        variables: &["github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=VERSION"],
        programs: &[
            ("github.com/containernetworking/plugins/plugins/main/bridge", "bridge"),
            ("github.com/containernetworking/plugins/plugins/main/loopback", "loopback"),
            ("github.com/containernetworking/plugins/plugins/ipam/host-local", "host-local"),
            ("github.com/containernetworking/plugins/plugins/meta/portmap", "portmap"),
            ("github.com/containernetworking/plugins/plugins/meta/bandwidth", "bandwidth"),
        ],
    },
    Module {
        folder: "coredns",
        pinned: "github.com/coredns/coredns",
        tags: "",
        variables: &[],
        programs: &[(".", "coredns")],
    },
];

/// The programs and the versions that go.mod pins.
#[derive(Debug, Clone, Default)]
pub struct Built {
    /// Program's name → file.
    pub programs: BTreeMap<String, PathBuf>,
    /// Folder of the go.mod → version, as `kubernetes` → `v1.36.3`.
    pub versions: BTreeMap<String, String>,
}

/// Builds what is not in the cache.
pub fn build(cache: &Cache, toolchain: &Toolchain, checkout: &Path) -> Result<Built> {
    let compiler = toolchain.go_version()?;
    let mut built = Built::default();
    for module in MODULES {
        let folder = checkout.join("images").join(module.folder);
        let pins = fs::read_to_string(folder.join("go.mod")).with_context(|| format!("reading go.mod of {}", module.folder))?;
        let version = pinned(&pins, module.pinned).with_context(|| format!("looking for {} in {}/go.mod", module.pinned, module.folder))?;
        let flags = link_flags(module, &version);
        let tags = [module.tags, "netgo,osusergo"].join(",").trim_start_matches(',').to_owned();
        let key = Key::default()
            .with("form", "1")
            .with("go", &compiler)
            .with("flags", &flags)
            .with("tags", &tags);
        let key = key.with_folder("sources", &folder)?.finish();
        let entry = cache.entry(&format!("go-{}", module.folder), &key, |fresh| {
            for (package, program) in module.programs {
                let output = fresh.join(program).display().to_string();
                let arguments = [
                    "build",
                    "-trimpath",
                    "-buildvcs=false",
                    "-mod=readonly",
                    "-tags",
                    &tags,
                    "-ldflags",
                    &flags,
                    "-o",
                    &output,
                    package,
                ];
                let log = cache.log(&format!("go-{program}"));
                run::logged(
                    &format!("building {program} {version}"),
                    &mut toolchain.go(&folder, &arguments),
                    &log,
                )?;
            }
            Ok(())
        })?;
        for (_, program) in module.programs {
            built.programs.insert((*program).to_owned(), entry.join(program));
        }
        built.versions.insert(module.folder.to_owned(), version);
    }
    Ok(built)
}

fn link_flags(module: &Module, version: &str) -> String {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let set = |text: &&str| {
        format!(
            " -X {}",
            text.replace("VERSION", version).replace("MAJOR", major).replace("MINOR", minor)
        )
    };
    format!("-s -w -buildid={}", module.variables.iter().map(set).collect::<String>())
}

/// The version of a module that a go.mod requires.
fn pinned(text: &str, module: &str) -> Option<String> {
    let mut lines = text.lines().map(|line| line.trim().trim_start_matches("require "));
    lines.find_map(|line| {
        line.strip_prefix(module)?
            .strip_prefix(' ')?
            .split_whitespace()
            .next()
            .map(str::to_owned)
    })
}

/// Every module of a go.sum whose content is pinned: name, version, digest. For the lock file.
pub fn modules(checkout: &Path) -> Result<Vec<[String; 3]>> {
    let mut all = Vec::new();
    for module in MODULES {
        let path = checkout.join("images").join(module.folder).join("go.sum");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        all.extend(text.lines().filter_map(|line| {
            let [name, version, digest] = <[&str; 3]>::try_from(line.split(' ').collect::<Vec<_>>()).ok()?;
            (!version.ends_with("/go.mod")).then(|| [name.to_owned(), version.to_owned(), digest.to_owned()])
        }));
    }
    all.sort();
    all.dedup();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_go_mod() {
        let text = "module x\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/kubernetes v1.36.3\n\tk8s.io/kubernetes-other v9.9.9 // indirect\n)\n";
        assert_eq!(pinned(text, "k8s.io/kubernetes").as_deref(), Some("v1.36.3"));
        assert_eq!(pinned("require a.b/c v1.0.0\n", "a.b/c").as_deref(), Some("v1.0.0"));
        assert_eq!(pinned("replace a.b/c => d.e/f v1.0.0\n", "a.b/d"), None);
    }

    #[test]
    fn kubernetes_knows_its_version() {
        let flags = link_flags(&MODULES[0], "v1.36.3");
        assert!(
            flags.contains("gitVersion=v1.36.3") && flags.contains("gitMajor=1 ") && flags.contains("gitMinor=36 "),
            "{flags}"
        );
    }

    #[test]
    fn each_go_mod_pins_what_is_built_from_it() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for module in MODULES {
            let text = fs::read_to_string(checkout.join("images").join(module.folder).join("go.mod")).unwrap();
            assert!(pinned(&text, module.pinned).is_some(), "{}", module.folder);
        }
        assert!(modules(checkout).unwrap().len() > 100);
    }
}
