//! GRUB's environment block, byte for byte as GRUB reads and edits it.
//!
//! From `grub-core/lib/envblk.c` of GRUB 2.12: a signature line, `name=value` lines, `#` up to the end. Where our reading and GRUB's
//! differed, the two would believe different copies; so what GRUB does with damaged blocks is followed too.

use crate::{SECTOR, Sector};

/// The first line, which GRUB insists on.
pub const SIGNATURE: &[u8; 25] = b"# GRUB Environment Block\n";

/// The longest value that means anything here; a longer one equals nothing.
const LONGEST: usize = 8;

/// A value as GRUB would have it in a variable: unescaped, and ending at the first NUL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Value {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Value {
    fn unescape(raw: &[u8]) -> Self {
        let mut value = Self::default();
        let mut bytes = raw.iter();
        while let Some(mut byte) = bytes.next() {
            if *byte == b'\\' {
                byte = bytes.next().unwrap_or(&0);
            }
            if *byte == 0 {
                break;
            }
            if let Some(place) = value.bytes.get_mut(value.length) {
                *place = *byte;
            }
            value.length = value.length.saturating_add(1);
        }
        value
    }

    /// The bytes; none if the value is longer than any that has a meaning.
    pub fn get(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }
}

/// Whether GRUB takes the sector for an environment block at all.
pub fn is_block(sector: &Sector) -> bool {
    sector.starts_with(SIGNATURE)
}

/// What `load_env` sets each of these variables to, where the block names it; of a repeated name the last counts.
pub fn load<const N: usize>(sector: &Sector, names: [&str; N]) -> [Option<Value>; N] {
    let mut values = [None; N];
    let mut rest = sector.strip_prefix(SIGNATURE.as_slice()).unwrap_or_default();
    while let Some(first) = rest.first() {
        if *first != b'#' {
            let Some((called, value, behind)) = line(rest) else { break };
            let called = called.split(|byte| *byte == 0).next().unwrap_or_default();
            if let Some((place, _)) = values.iter_mut().zip(names).find(|(_, name)| name.as_bytes() == called) {
                *place = Some(Value::unescape(value));
            }
            rest = behind;
        }
        rest = next_line(rest);
    }
    values
}

/// Name, raw value, and what begins with the newline behind them.
fn line(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, rest) = (text.get(..equals)?, text.get(equals + 1..)?);
    let end = value_end(rest)?;
    Some((name, rest.get(..end)?, rest.get(end..)?))
}

/// Where the newline is that ends a value; a backslash hides the byte after it.
fn value_end(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match value.get(at)? {
            b'\n' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn next_line(text: &[u8]) -> &[u8] {
    value_end(text).and_then(|end| text.get(end + 1..)).unwrap_or_default()
}

/// What `save_env` makes of the block for one variable, in place; `false`: GRUB refuses, and writes nothing.
///
/// The value must be plain: no backslash, no newline.
pub fn set(sector: &mut Sector, name: &str, value: &str) -> bool {
    set_in(sector, name.as_bytes(), value.as_bytes()).is_some()
}

fn set_in(sector: &mut Sector, name: &[u8], value: &[u8]) -> Option<()> {
    is_block(sector).then_some(())?;
    let last = sector.iter().rposition(|byte| *byte != b'#')?;
    (*sector.get(last)? == b'\n').then_some(())?;
    let space = last + 1;
    let mut at = SIGNATURE.len();
    while at + name.len() + 1 < space {
        let line = sector.get(at..)?;
        if line.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&b'=')) {
            let place = at + name.len() + 1;
            let length = value_end(sector.get(place..)?)?;
            (SECTOR - space + length >= value.len()).then_some(())?;
            if value.len() < length {
                sector.copy_within(place + length.., place + value.len());
            } else {
                let kept = SECTOR - (place + value.len());
                sector.copy_within(place + length..place + length + kept, place + value.len());
            }
            sector.get_mut(place..place + value.len())?.copy_from_slice(value);
            return Some(());
        }
        at = SECTOR - next_line(line).len();
    }
    let added = name.len() + 1 + value.len() + 1;
    let line = sector.get_mut(space..space + added)?;
    line.get_mut(..name.len())?.copy_from_slice(name);
    *line.get_mut(name.len())? = b'=';
    line.get_mut(name.len() + 1..added - 1)?.copy_from_slice(value);
    *line.get_mut(added - 1)? = b'\n';
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &[u8]) -> Sector {
        let mut sector = [b'#'; SECTOR];
        sector[..25].copy_from_slice(SIGNATURE);
        sector[25..25 + text.len()].copy_from_slice(text);
        sector
    }

    fn read(sector: &Sector, name: &str) -> Option<std::vec::Vec<u8>> {
        load(sector, [name])[0].map(|value| value.get().unwrap().to_vec())
    }

    #[test]
    fn values_are_read_as_grub_reads_them() {
        let cases: [(&[u8], Option<&[u8]>); 9] = [
            (b"good=a\n", Some(b"a")),
            (b"good=\n", Some(b"")),
            (b"good=a\ngood=b\n", Some(b"b")),
            (b"# good=a\n", None),
            (b"junk\ngood=a\n", None), // the name is "junk\ngood"
            (b"good=\\\\\n", Some(b"\\")),
            (b"good=a\0x\n", Some(b"a")),
            (b"go\0od=a\n", None),
            (b"good=a", None), // no end of line, nothing but padding behind
        ];
        for (text, value) in cases {
            assert_eq!(read(&block(text), "good").as_deref(), value, "{:?}", std::str::from_utf8(text));
        }
        assert_eq!(load(&[b'#'; SECTOR], ["good"]), [None]);
        assert_eq!(load(&block(b"good=123456789\n"), ["good"])[0].unwrap().get(), None);
    }

    #[test]
    fn any_bytes_are_read_and_edited_without_harm() {
        let mut dice = 1_u64;
        let mut roll = |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 33) % sides
        };
        for _ in 0..2_000 {
            let mut sector = block(b"good=a\ntry=b\ntries=3\nv=a-b-3\n");
            for _ in 0..roll(40) {
                let at = usize::try_from(if roll(3) == 0 { roll(512) } else { 25 + roll(40) }).unwrap();
                sector[at] = b"\n\\#=\0abtriesgood\xff"[usize::try_from(roll(17)).unwrap()];
            }
            let before = sector;
            let _ = load(&sector, ["good", "try", "tries", "v"]);
            if set(&mut sector, "good", "b") {
                assert!(is_block(&sector));
            } else {
                assert_eq!(before, sector, "a refused edit changes nothing");
            }
        }
    }

    #[test]
    fn values_are_edited_as_grub_edits_them() {
        let mut sector = block(b"good=a\ntry=\ntries=0\n");
        assert!(set(&mut sector, "try", "b") && set(&mut sector, "tries", "3") && set(&mut sector, "v", "a-b-3"));
        assert_eq!(sector, block(b"good=a\ntry=b\ntries=3\nv=a-b-3\n"));
        assert!(set(&mut sector, "v", "a") && set(&mut sector, "try", ""));
        assert_eq!(sector, block(b"good=a\ntry=\ntries=3\nv=a\n"));
        let mut broken = block(b"good=a\nx");
        assert!(!set(&mut broken, "good", "b"), "the last byte before the padding is no newline");
        let mut full = [b'x'; SECTOR];
        full[..25].copy_from_slice(SIGNATURE);
        full[SECTOR - 1] = b'\n';
        assert!(!set(&mut full, "v", "a"), "no room");
        assert!(!set(&mut [b'#'; SECTOR], "v", "a"), "no signature");
    }
}
