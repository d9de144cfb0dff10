//! Kernel modules: by name, by alias, for the hardware that is there.

use crate::{Doing, Error, Result, file};
use rustix::fs::{Mode, OFlags};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

/// What `depmod` wrote about one kernel's modules.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// The folder the paths are relative to.
    dir: PathBuf,
    /// Name → its file, and the files it needs (all of them, nearest first).
    modules: HashMap<String, (String, Vec<String>)>,
    /// Names that are in the kernel itself.
    builtin: BTreeSet<String>,
    /// Name → what is to be loaded before it by its own wish.
    before: HashMap<String, Vec<String>>,
    /// Alias patterns by what is before their first `:` (the bus), in the file's order.
    aliases: HashMap<String, Vec<(String, String)>>,
    /// Names that are loaded only when asked for by name.
    denied: BTreeSet<String>,
    /// Parameters that the kernel's command line gives.
    parameters: BTreeMap<String, String>,
}

/// The texts an [`Index`] is made of; absent files are empty texts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Texts<'a> {
    /// `modules.dep`
    pub dep: &'a str,
    /// `modules.alias`
    pub alias: &'a str,
    /// `modules.softdep`
    pub softdep: &'a str,
    /// `modules.builtin`
    pub builtin: &'a str,
    /// `modprobe.d/*.conf`; only `blacklist` and `options` lines count.
    pub conf: &'a str,
    /// `/proc/cmdline`, for `MODULE.PARAMETER=VALUE` and `modprobe.blacklist=`.
    pub cmdline: &'a str,
}

/// One module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Its name.
    pub module: String,
    /// Its file.
    pub file: PathBuf,
    /// It is only wished for (`softdep`): `crc32c_intel` refuses a processor without SSE 4.2, and what wishes for it works without.
    pub is_wish: bool,
}

impl Index {
    /// Makes an index; lines that are not understood are skipped.
    pub fn parse(dir: &Path, texts: Texts<'_>) -> Self {
        let mut index = Self {
            dir: dir.to_owned(),
            ..Self::default()
        };
        for line in texts.dep.lines() {
            let Some((path, needs)) = line.split_once(':') else { continue };
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            index.modules.insert(name_of(path), (path.to_owned(), needs));
        }
        for line in texts.alias.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(pattern), Some(module)) = (words.next(), words.next(), words.next()) {
                index
                    .aliases
                    .entry(bus_of(pattern).to_owned())
                    .or_default()
                    .push((pattern.to_owned(), plain(module)));
            }
        }
        for line in texts.softdep.lines() {
            let mut words = line.split_whitespace();
            if let (Some("softdep"), Some(module)) = (words.next(), words.next()) {
                let wishes = words
                    .skip_while(|w| *w != "pre:")
                    .skip(1)
                    .take_while(|w| *w != "post:")
                    .map(str::to_owned)
                    .collect();
                index.before.insert(plain(module), wishes);
            }
        }
        index.builtin = texts.builtin.lines().map(name_of).collect();
        for line in texts.conf.lines() {
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["blacklist", module, ..] => _ = index.denied.insert(plain(module)),
                ["options", module, options @ ..] => index.give(&plain(module), &options.join(" ")),
                _ => {}
            }
        }
        for word in texts.cmdline.split_whitespace() {
            if let Some(names) = word.strip_prefix("modprobe.blacklist=") {
                index.denied.extend(names.split(',').map(plain));
            } else if let Some((module, parameter)) = word.split_once('.').filter(|(_, p)| p.contains('=')) {
                if index.modules.contains_key(&plain(module)) {
                    index.give(&plain(module), parameter);
                }
            }
        }
        index
    }

    /// Reads what lies in `dir` (`/lib/modules/VERSION`), `/usr/lib/modprobe.d` and `/etc/modprobe.d`, and the kernel's command line.
    pub fn read(dir: &Path) -> Result<Self> {
        let text = |name: &str| file::read_text(dir.join(name), 16 << 20);
        let optional = |name: &str| text(name).unwrap_or_default();
        let cmdline = file::read_text("/proc/cmdline", 1 << 16).unwrap_or_default();
        let mut conf = String::new();
        for folder in ["/usr/lib/modprobe.d", "/etc/modprobe.d"] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().extension().is_some_and(|e| e == "conf") {
                    conf.push_str(&file::read_text(entry.path(), 1 << 20).unwrap_or_default());
                    conf.push('\n');
                }
            }
        }
        let (alias, softdep, builtin) = (optional("modules.alias"), optional("modules.softdep"), optional("modules.builtin"));
        let texts = Texts {
            dep: &text("modules.dep")?,
            alias: &alias,
            softdep: &softdep,
            builtin: &builtin,
            conf: &conf,
            cmdline: &cmdline,
        };
        Ok(Self::parse(dir, texts))
    }

    /// The index of the running kernel, from `/lib/modules`.
    pub fn of_running_kernel() -> Result<Self> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        Self::read(&Path::new("/lib/modules").join(release))
    }

    /// The modules whose patterns fit an alias such as `pci:v00001AF4d…`, in the index's order, without those denied.
    pub fn lookup(&self, alias: &str) -> Vec<&str> {
        // A pattern whose first part has wildcards is filed under the empty name.
        let buses = [bus_of(alias), ""];
        let mut found: Vec<&str> = vec![];
        for (pattern, module) in buses.iter().filter_map(|bus| self.aliases.get(*bus)).flatten() {
            if !found.contains(&module.as_str()) && !self.denied.contains(module) && matches(pattern.as_bytes(), alias.as_bytes()) {
                found.push(module);
            }
        }
        found
    }

    /// Whether there is a module of that name, as a file or in the kernel.
    pub fn knows(&self, name: &str) -> bool {
        self.modules.contains_key(&plain(name)) || self.builtin.contains(&plain(name))
    }

    /// The files to load for `name`, in order. `None`: there is no such module.
    pub fn plan(&self, name: &str) -> Option<Vec<Load>> {
        let mut order = vec![];
        self.add(&plain(name), false, &mut order, &mut BTreeSet::new()).then_some(order)
    }

    fn add(&self, name: &str, is_wish: bool, order: &mut Vec<Load>, seen: &mut BTreeSet<String>) -> bool {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return true;
        }
        let Some((path, needs)) = self.modules.get(name) else {
            return false;
        };
        // A wish may name an alias or something that is not there: it is only a wish.
        for wish in self.before.get(name).into_iter().flatten() {
            for module in self.lookup(wish) {
                self.add(module, true, order, seen);
            }
            self.add(&plain(wish), true, order, seen);
        }
        for need in needs.iter().rev() {
            self.add(&name_of(need), is_wish, order, seen);
        }
        order.push(Load {
            module: name.to_owned(),
            file: self.dir.join(path),
            is_wish,
        });
        true
    }

    fn give(&mut self, module: &str, parameter: &str) {
        let all = self.parameters.entry(module.to_owned()).or_default();
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(parameter);
    }
}

/// Loads a module and what it needs, by its name or by an alias such as `fs-ext4`. Nothing to do is fine too.
pub fn load(index: &Index, name: &str, parameters: &str) -> Result<()> {
    if is_live(&plain(name)) {
        return Ok(());
    }
    let found = index.plan(name).or_else(|| {
        let plans: Vec<_> = index.lookup(name).into_iter().filter_map(|module| index.plan(module)).collect();
        (!plans.is_empty()).then(|| plans.concat())
    });
    let Some(files) = found else {
        let why = io::Error::new(io::ErrorKind::NotFound, "there is no such module");
        return Err(Error {
            doing: "loading module",
            on: name.to_owned(),
            source: why,
        });
    };
    for Load { module, file, is_wish } in files {
        if is_live(&module) {
            continue;
        }
        let mut all = index.parameters.get(&module).cloned().unwrap_or_default();
        if module == plain(name) && !parameters.is_empty() {
            all.push(' ');
            all.push_str(parameters);
        }
        let inserted = insert(&file, all.trim_start()).doing("loading module", &module);
        if !is_wish {
            inserted?;
        }
    }
    Ok(())
}

/// What [`coldplug`] did.
#[derive(Debug, Default)]
pub struct Report {
    /// The modules that fitted, loaded now or before.
    pub loaded: Vec<String>,
    /// What could not be loaded, and why.
    pub failed: Vec<Error>,
}

/// Loads what fits the devices that are there, until loading brings no new devices.
pub fn coldplug(index: &Index) -> Report {
    let mut report = Report::default();
    let (mut seen, mut tried) = (BTreeSet::new(), BTreeSet::new());
    // A bus behind a bus behind a bus: more rounds than that have not been met.
    for _ in 0..8 {
        let new: Vec<String> = present_aliases().into_iter().filter(|alias| seen.insert(alias.clone())).collect();
        if new.is_empty() {
            break;
        }
        for module in new.iter().flat_map(|alias| index.lookup(alias)) {
            if tried.insert(module.to_owned()) {
                match load(index, module, "") {
                    Ok(()) => report.loaded.push(module.to_owned()),
                    Err(why) => report.failed.push(why),
                }
            }
        }
    }
    report
}

/// The aliases of all devices on all buses, each once.
pub fn present_aliases() -> BTreeSet<String> {
    let list = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    list("/sys/bus".into())
        .flat_map(|bus| list(bus.join("devices")))
        .filter_map(|device| file::read_text(device.join("modalias"), 4096).ok())
        .map(|alias| alias.trim().to_owned())
        .filter(|alias| !alias.is_empty())
        .collect()
}

/// In the kernel and working (a built-in one shows only if it has parameters).
fn is_live(module: &str) -> bool {
    file::read_text(Path::new("/sys/module").join(module).join("initstate"), 64).is_ok_and(|state| state.trim() == "live")
}

fn insert(path: &Path, parameters: &str) -> io::Result<()> {
    const COMPRESSED: i32 = 4; // MODULE_INIT_COMPRESSED_FILE
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let is_compressed = path.extension().is_some_and(|e| e != "ko");
    match rustix::system::finit_module(fd, &CString::new(parameters)?, if is_compressed { COMPRESSED } else { 0 }) {
        // Somebody else was faster.
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(why) => Err(why.into()),
    }
}

/// `kernel/drivers/net/virtio-net.ko.xz` → `virtio_net`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    plain(file.split_once(".ko").map_or(file, |(name, _)| name))
}

/// The kernel takes `-` and `_` for the same.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

/// What is before the first `:`; empty if it is a pattern itself. `fs-ext4` and its like are a bus of their own.
fn bus_of(alias: &str) -> &str {
    match alias.split_once(':') {
        Some((bus, _)) if !bus.contains(['*', '?', '[']) => bus,
        Some(_) => "",
        None if alias.contains(['*', '?', '[']) => "",
        None => alias,
    }
}

/// fnmatch(3) without flags: `*`, `?`, `[a-z]`, `[!a]`. Backtracks only to the last star, so the time is at most pattern × text.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (pattern, text);
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = p {
            star = Some((rest, t));
            p = rest;
            continue;
        }
        match (step(p, t.first().copied()), t) {
            (Some(rest), [_, after @ ..]) => (p, t) = (rest, after),
            _ if p.is_empty() && t.is_empty() => return true,
            _ => match star {
                Some((after_star, [_, after @ ..])) => {
                    star = Some((after_star, after));
                    (p, t) = (after_star, after);
                }
                _ => return false,
            },
        }
    }
}

/// If the pattern's first element fits `byte`: the pattern after it.
fn step(pattern: &[u8], byte: Option<u8>) -> Option<&[u8]> {
    let byte = byte?;
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().skip(1).position(|b| *b == b']').map(|at| at + 1) else {
                // No end: a plain bracket.
                return (byte == b'[').then_some(rest);
            };
            let (set, rest) = (rest.get(..end)?, rest.get(end + 1..)?);
            let (negated, set) = match set {
                [b'!' | b'^', set @ ..] => (true, set),
                set => (false, set),
            };
            (is_in(set, byte) != negated).then_some(rest)
        }
        [first, rest @ ..] => (*first == byte).then_some(rest),
        [] => None,
    }
}

fn is_in(mut set: &[u8], byte: u8) -> bool {
    loop {
        match set {
            [low, b'-', high, rest @ ..] => {
                if (*low..=*high).contains(&byte) {
                    return true;
                }
                set = rest;
            }
            [one, rest @ ..] => {
                if *one == byte {
                    return true;
                }
                set = rest;
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEP: &str = "\
kernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net_failover.ko.xz kernel/net/core/failover.ko.xz
kernel/drivers/net/net_failover.ko.xz: kernel/net/core/failover.ko.xz
kernel/net/core/failover.ko.xz:
kernel/drivers/md/dm-verity.ko.xz: kernel/drivers/md/dm-bufio.ko.xz
kernel/drivers/md/dm-bufio.ko.xz:
kernel/fs/erofs/erofs.ko: kernel/lib/libcrc32c.ko
kernel/lib/libcrc32c.ko:
kernel/crypto/crc32c_generic.ko:
";
    const ALIAS: &str = "\
# Aliases extracted from modules themselves.
alias virtio:d00000001v* virtio_net
alias pci:v00001AF4d00001[0-9]* other
alias fs-erofs erofs
alias crypto-crc32c crc32c-generic
";
    const SOFTDEP: &str = "softdep libcrc32c pre: crypto-crc32c nothing post: later\n";

    fn index(conf: &str, cmdline: &str) -> Index {
        let texts = Texts {
            dep: DEP,
            alias: ALIAS,
            softdep: SOFTDEP,
            builtin: "kernel/fs/ext4/ext4.ko\n",
            conf,
            cmdline,
        };
        Index::parse(Path::new("/m"), texts)
    }

    #[test]
    fn what_is_needed_comes_first() {
        let index = index("", "");
        let names = |name: &str| index.plan(name).unwrap().into_iter().map(|l| l.module).collect::<Vec<_>>();
        assert_eq!(names("virtio-net"), ["failover", "net_failover", "virtio_net"]);
        assert_eq!(names("dm_verity"), ["dm_bufio", "dm_verity"]);
        assert_eq!(names("erofs"), ["crc32c_generic", "libcrc32c", "erofs"]);
        assert_eq!(names("ext4"), Vec::<String>::new());
        assert_eq!(index.plan("unheard_of"), None);
        let path = &index.plan("failover").unwrap()[0].file;
        assert_eq!(path, Path::new("/m/kernel/net/core/failover.ko.xz"));
        let wishes: Vec<bool> = index.plan("erofs").unwrap().iter().map(|l| l.is_wish).collect();
        assert_eq!(wishes, [true, false, false]);
        assert!(index.knows("dm-verity") && index.knows("ext4") && !index.knows("xfs"));
    }

    #[test]
    fn hardware_finds_its_module() {
        let index = index("blacklist other\n", "");
        assert_eq!(index.lookup("virtio:d00000001v00001AF4"), ["virtio_net"]);
        assert_eq!(index.lookup("virtio:d00000002v00001AF4"), Vec::<&str>::new());
        assert_eq!(index.lookup("fs-erofs"), ["erofs"]);
        assert_eq!(index.lookup("pci:v00001AF4d00001041"), Vec::<&str>::new(), "denied");
    }

    #[test]
    fn the_command_line_denies_and_gives_parameters() {
        let index = index(
            "options erofs a=1\n",
            "quiet modprobe.blacklist=virtio-net,x erofs.b=2 skerry.root=/dev/vda",
        );
        assert_eq!(index.lookup("virtio:d00000001v00001AF4"), Vec::<&str>::new());
        assert!(index.plan("virtio_net").is_some(), "asked for by name it is loaded");
        assert_eq!(index.parameters.get("erofs").unwrap(), "a=1 b=2");
        assert_eq!(index.parameters.len(), 1);
    }

    #[test]
    fn patterns_match_as_fnmatch_does() {
        let table = [
            ("", "", true),
            ("*", "", true),
            ("a*", "a", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*b", "abab", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("v[0-9A-F]x", "vBx", true),
            ("v[!0-9]x", "v5x", false),
            ("v[!0-9]x", "vax", true),
            ("v[]]x", "v]x", true),
            ("v[", "v[", true),
            ("usb:v046Dp*d*dc*", "usb:v046DpC52Bd1211dc00", true),
            ("usb:v*ic08isc06ip50in*", "usb:v0781p5567d0100dc00dsc00dp00ic08isc06ip50in00", true),
            ("of:N*T*Cbrcm,bcm2835-wdt", "of:NwatchdogT(null)Cbrcm,bcm2835-wdt", true),
        ];
        for (pattern, text, fits) in table {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn modules_that_need_each_other_end() {
        let texts = Texts {
            dep: "a.ko: b.ko\nb.ko: a.ko\n",
            ..Texts::default()
        };
        assert_eq!(Index::parse(Path::new("/"), texts).plan("a").unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_an_index(text in "(?s).{0,200}", alias in ".{0,60}") {
            let texts = Texts { dep: &text, alias: &text, softdep: &text, builtin: &text, conf: &text, cmdline: &text };
            let index = Index::parse(Path::new("/"), texts);
            let _ = (index.lookup(&alias), index.plan(&alias));
        }

        #[test]
        fn a_pattern_without_wildcards_fits_itself(text in "[a-z:0-9]{0,40}", cut in 0usize..40) {
            prop_assert!(matches(text.as_bytes(), text.as_bytes()));
            let cut = cut.min(text.len());
            let starred = [&text.as_bytes()[..cut], b"*"].concat();
            prop_assert!(matches(&starred, text.as_bytes()));
        }
    }
}
