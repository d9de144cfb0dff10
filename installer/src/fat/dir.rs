//! Directory entries: short names, long names, times.

/// One file, folder or label, with its name.
#[derive(Debug, Clone)]
pub struct Entry {
    name: String,
    attributes: u8,
    cluster: u64,
    bytes: u32,
    time: (u16, u16),
}

const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const LONG: u8 = 0x0F;

impl Entry {
    pub fn label(name: &str, time: (u16, u16)) -> Self {
        Self::new(name, LABEL, 0, 0, time)
    }

    pub fn folder(name: &str, cluster: u64, time: (u16, u16)) -> Self {
        Self::new(name, FOLDER, cluster, 0, time)
    }

    pub fn file(name: &str, cluster: u64, bytes: u32, time: (u16, u16)) -> Self {
        Self::new(name, ARCHIVE, cluster, bytes, time)
    }

    fn new(name: &str, attributes: u8, cluster: u64, bytes: u32, time: (u16, u16)) -> Self {
        Self {
            name: name.to_owned(),
            attributes,
            cluster,
            bytes,
            time,
        }
    }
}

/// Can a file of ours be called so? Letters, digits and `._-`, not only dots.
pub fn is_name(name: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !name.is_empty() && name.len() <= 100 && name.bytes().all(is_letter) && !name.starts_with('.') && !name.ends_with('.')
}

/// The 11 bytes of a volume label.
pub fn label(text: &str) -> [u8; 11] {
    padded(text.as_bytes())
}

/// How many bytes the entries of these names and `more` others take.
pub fn length(names: &[&str], more: u64) -> u64 {
    let entries: u64 = names
        .iter()
        .map(|n| if short(n).is_some() { 1 } else { 1 + n.len().div_ceil(13) as u64 })
        .sum();
    32 * (entries + more)
}

/// The bytes of a directory.
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut taken: Vec<[u8; 11]> = vec![];
    let mut bytes = vec![];
    for entry in entries {
        let exact = match entry.attributes {
            LABEL => Some(label(&entry.name)),
            _ => short(&entry.name),
        };
        let name = exact.unwrap_or_else(|| {
            let alias = alias(&entry.name, &taken);
            bytes.extend(long(&entry.name, &alias));
            alias
        });
        taken.push(name);
        let (date, time) = entry.time;
        let [c0, c1, c2, c3, ..] = entry.cluster.to_le_bytes();
        bytes.extend(name);
        bytes.extend([entry.attributes, 0, 0]);
        bytes.extend(time.to_le_bytes());
        bytes.extend(date.to_le_bytes());
        bytes.extend(date.to_le_bytes());
        bytes.extend([c2, c3]);
        bytes.extend(time.to_le_bytes());
        bytes.extend(date.to_le_bytes());
        bytes.extend([c0, c1]);
        bytes.extend(entry.bytes.to_le_bytes());
    }
    bytes
}

fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut out = [b' '; N];
    out.iter_mut().zip(text).for_each(|(place, byte)| *place = *byte);
    out
}

fn joined(base: &[u8], extension: &[u8]) -> [u8; 11] {
    let mut out = padded::<11>(base);
    out.iter_mut()
        .skip(8)
        .zip(padded::<3>(extension))
        .for_each(|(place, byte)| *place = byte);
    out
}

/// The name as it is, where it is a short one: 8.3 in upper case (and `.` and `..`).
fn short(name: &str) -> Option<[u8; 11]> {
    if name == "." || name == ".." {
        return Some(padded(name.as_bytes()));
    }
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3 && !extension.contains('.');
    let is_upper = !name.bytes().any(|b| b.is_ascii_lowercase());
    (fits && is_upper).then(|| joined(base.as_bytes(), extension.as_bytes()))
}

/// A short name beside a long one: the same in upper case where that is a short name and free, else `CONFIG~1.EXA`.
fn alias(name: &str, taken: &[[u8; 11]]) -> [u8; 11] {
    let upper = name.to_ascii_uppercase();
    if let Some(same) = short(&upper).filter(|s| !taken.contains(s)) {
        return same;
    }
    let (base, extension) = upper.rsplit_once('.').unwrap_or((&upper, ""));
    let letters = |text: &str, most: usize| text.bytes().filter(u8::is_ascii_alphanumeric).take(most).collect::<Vec<u8>>();
    (1..1000)
        .map(|n| {
            let tail = format!("~{n}");
            let mut base = letters(base, 8 - tail.len());
            base.extend(tail.bytes());
            joined(&base, &letters(extension, 3))
        })
        .find(|a| !taken.contains(a))
        .unwrap_or(*b"SKERRY~9   ")
}

/// The entries of a long name, which come before the short one's, its last part first.
fn long(name: &str, alias: &[u8; 11]) -> Vec<u8> {
    let sum = alias.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let letters: Vec<u16> = name.encode_utf16().collect();
    let parts: Vec<&[u16]> = letters.chunks(13).collect();
    let mut out = vec![];
    for (i, part) in parts.iter().enumerate().rev() {
        let order = u8::try_from(i + 1).unwrap_or(1) | if i + 1 == parts.len() { 0x40 } else { 0 };
        // Ended by one zero, filled with ones.
        let mut full = part.to_vec();
        if full.len() < 13 {
            full.push(0);
        }
        full.resize(13, 0xFFFF);
        let bytes: Vec<u8> = full.iter().flat_map(|l| l.to_le_bytes()).collect();
        let piece = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
        out.push(order);
        out.extend(piece(0, 10));
        out.extend([LONG, 0, sum]);
        out.extend(piece(10, 22));
        out.extend([0, 0]);
        out.extend(piece(22, 26));
    }
    out
}

/// Date and time of day as FAT has them, from seconds since 1970; what is outside 1980 to 2107 is moved to its edge.
pub fn stamp(seconds: u64) -> (u16, u16) {
    const FIRST: u64 = 315_532_800;
    const LAST: u64 = 4_354_819_198;
    let seconds = seconds.clamp(FIRST, LAST);
    let (mut day, of_day) = (seconds / 86400, seconds % 86400);
    let mut year = 1970;
    let length = |year: u64| 365 + u64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    while day >= length(year) {
        day -= length(year);
        year += 1;
    }
    let mut month = 1;
    for days in [31, length(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let date = ((year - 1980) << 9) | (month << 5) | (day + 1);
    let time = ((of_day / 3600) << 11) | ((of_day / 60 % 60) << 5) | (of_day % 60 / 2);
    (u16::try_from(date).unwrap_or(0x21), u16::try_from(time).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(stamp(0), (0x21, 0));
        // 2024-02-29 13:37:42
        assert_eq!(stamp(1_709_213_862), ((44 << 9) + (2 << 5) + 29, (13 << 11) + (37 << 5) + 21));
        // 2026-11-21 00:00:00
        assert_eq!(stamp(1_795_219_200), ((46 << 9) + (11 << 5) + 21, 0));
        assert_eq!(stamp(u64::MAX).0 >> 9, 127);
    }

    #[test]
    fn short_names_and_aliases() {
        assert_eq!(short("BOOTX64.EFI"), Some(*b"BOOTX64 EFI"));
        assert_eq!(short("vmlinuz"), None);
        assert_eq!(&alias("vmlinuz", &[]), b"VMLINUZ    ");
        assert_eq!(&alias("config.yaml.example", &[]), b"CONFIG~1EXA");
        assert_eq!(&alias("config.yaml.example", &[*b"CONFIG~1EXA"]), b"CONFIG~2EXA");
        assert_eq!(length(&["initrd.img", "A", "config.yaml.example"], 2), 32 * (2 + 1 + 3 + 2));
    }

    #[test]
    fn names_that_are_refused() {
        for name in ["", ".", "..", "a b", "a/b", "ä", ".x", "x."] {
            assert!(!is_name(name), "{name}");
        }
    }
}
