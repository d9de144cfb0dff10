//! What a program asks its loader for: read from its ELF headers, just far enough.
//!
//! The format: elf(5). Total: whatever the bytes, an answer comes.

use crate::tree::{Body, Tree};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;

/// An ELF file of 64 bits, little endian.
const MAGIC: &[u8] = b"\x7fELF\x02\x01";
/// Of program headers (`PT_…`).
const LOAD: usize = 1;
const DYNAMIC: usize = 2;
const INTERPRETER: usize = 3;
/// Of entries of the dynamic section (`DT_…`).
const NEEDED: usize = 1;
const STRINGS: usize = 5;

/// A program header.
struct Segment {
    kind: usize,
    offset: usize,
    address: usize,
    bytes: usize,
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0usize, |value, byte| (value << 8) | usize::from(*byte)))
}

fn segments(elf: &[u8]) -> Option<Vec<Segment>> {
    elf.starts_with(MAGIC).then_some(())?;
    let (start, size, count) = (number(elf, 32, 8)?, number(elf, 54, 2)?, number(elf, 56, 2)?);
    let segment = |index: usize| {
        let at = start.checked_add(index * size)?;
        Some(Segment {
            kind: number(elf, at, 4)?,
            offset: number(elf, at.checked_add(8)?, 8)?,
            address: number(elf, at.checked_add(16)?, 8)?,
            bytes: number(elf, at.checked_add(32)?, 8)?,
        })
    };
    (0..count).map(segment).collect()
}

/// Whether an ELF file has no program header that names a loader.
pub fn is_static(elf: &[u8]) -> bool {
    segments(elf).is_some_and(|all| all.iter().all(|s| s.kind != INTERPRETER))
}

/// The libraries that an ELF file names; none where it is no ELF file, or a static one.
pub fn needed(elf: &[u8]) -> Vec<String> {
    let names = || -> Option<Vec<String>> {
        let segments = segments(elf)?;
        let dynamic = segments.iter().find(|s| s.kind == DYNAMIC)?;
        let entries = elf.get(dynamic.offset..dynamic.offset.checked_add(dynamic.bytes)?)?;
        let entries: Vec<_> = entries
            .chunks_exact(16)
            .filter_map(|entry| Some((number(entry, 0, 8)?, number(entry, 8, 8)?)))
            .collect();
        let (_, strings) = entries.iter().find(|(tag, _)| *tag == STRINGS)?;
        let holds = |s: &&Segment| s.kind == LOAD && (s.address..s.address.saturating_add(s.bytes)).contains(strings);
        let holder = segments.iter().find(holds)?;
        let strings = strings.checked_sub(holder.address)?.checked_add(holder.offset)?;
        let text = |at: usize| {
            let bytes = elf.get(strings.checked_add(at)?..)?;
            let bytes = bytes.split(|byte| *byte == 0).next()?;
            Some(String::from_utf8_lossy(bytes).into_owned())
        };
        Some(entries.iter().filter(|e| e.0 == NEEDED).filter_map(|e| text(e.1)).collect())
    };
    names().unwrap_or_default()
}

/// Libraries that a program or library of the tree names and that are not in it: `usr/bin/x: libx.so.1`.
pub fn missing(tree: &Tree) -> Result<Vec<String>> {
    let last = |path: &String| path.rsplit('/').next().unwrap_or(path).to_owned();
    let names: BTreeSet<String> = tree.0.keys().filter(|path| path.contains(".so")).map(last).collect();
    let mut missing = vec![];
    for (path, node) in tree
        .0
        .iter()
        .filter(|(path, _)| std::path::Path::new(path).extension().is_none_or(|e| e != "ko") && !path.contains(".ko."))
    {
        let Body::Copy(from) = &node.body else { continue };
        let bytes = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
        let absent = needed(&bytes).into_iter().filter(|name| !names.contains(name));
        missing.extend(absent.map(|name| format!("{path}: {name}")));
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 1; // PT_LOAD
        assert!(is_static(&elf));
        assert_eq!(needed(&elf), [""; 0]);
        elf[64] = 3; // PT_INTERP
        assert!(!is_static(&elf));
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(&elf[..70]));
    }

    #[test]
    fn what_a_program_names_and_what_is_not_there() {
        // This test is a dynamic program itself.
        let this = std::env::current_exe().unwrap();
        let bytes = fs::read(&this).unwrap();
        let names = needed(&bytes);
        assert!(names.iter().any(|name| name == "libc.so.6"), "{names:?}");
        for cut in [0, 10, 63, 64, 100, 500, 4096] {
            let _ = needed(&bytes[..cut]); // it ends
        }
        let mut tree = Tree::default();
        tree.put("usr/bin/this", 0o755, Body::Copy(this));
        let all: Vec<String> = names.iter().map(|name| format!("usr/bin/this: {name}")).collect();
        assert_eq!(missing(&tree).unwrap(), all);
        for name in &names {
            tree.put(&format!("usr/lib/x/{name}"), 0o644, Body::Copy(PathBuf::from("/dev/null")));
        }
        assert_eq!(missing(&tree).unwrap(), [""; 0]);
    }
}
