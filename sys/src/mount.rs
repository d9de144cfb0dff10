//! Mounts, and what is mounted.

use crate::{Doing, Result, file};
use nom::IResult;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{char, digit1};
use nom::combinator::{map_res, opt};
use nom::multi::many0;
use nom::sequence::{preceded, terminated};
use nom::{AsChar, Parser};
use std::io;
use std::path::{Path, PathBuf};
pub use sys_mount::MountFlags;
use sys_mount::UnmountFlags;

/// Mounts `source` at `target`. `data` holds the file system's own options, `""` for none.
pub fn mount(source: impl AsRef<Path>, target: impl AsRef<Path>, fstype: &str, flags: MountFlags, data: &str) -> Result<()> {
    call(source.as_ref(), target.as_ref(), fstype, flags, data).doing("mounting", target.as_ref().display())
}

/// Shows `source` at `target` too (and what is mounted below it).
pub fn bind(source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<()> {
    call(source.as_ref(), target.as_ref(), "", MountFlags::BIND | MountFlags::REC, "").doing("binding", target.as_ref().display())
}

/// As [`bind`], but nothing can be written through it.
pub fn bind_readonly(source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<()> {
    let target = target.as_ref();
    bind(source, target)?;
    call(
        Path::new(""),
        target,
        "",
        MountFlags::BIND | MountFlags::REMOUNT | MountFlags::RDONLY,
        "",
    )
    .doing("making read-only", target.display())
}

/// Moves a mount.
pub fn move_to(source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<()> {
    call(source.as_ref(), target.as_ref(), "", MountFlags::MOVE, "").doing("moving a mount to", target.as_ref().display())
}

/// Changes the flags and options of what is mounted at `target`.
pub fn remount(target: impl AsRef<Path>, flags: MountFlags, data: &str) -> Result<()> {
    call(Path::new(""), target.as_ref(), "", flags | MountFlags::REMOUNT, data).doing("remounting", target.as_ref().display())
}

/// Lets mounts made below `target` show in the copies of it that other namespaces hold (what kubelet calls bidirectional propagation).
pub fn make_rshared(target: impl AsRef<Path>) -> Result<()> {
    let shared = MountFlags::from_bits_retain(nix::libc::MS_SHARED);
    call(Path::new(""), target.as_ref(), "", shared | MountFlags::REC, "").doing("sharing mounts below", target.as_ref().display())
}

/// Unmounts; refused by the kernel while something is in use.
pub fn unmount(target: impl AsRef<Path>) -> Result<()> {
    sys_mount::unmount(&target, UnmountFlags::empty()).doing("unmounting", target.as_ref().display())
}

/// Takes the mount out of the tree now; the file system goes when its last user does.
pub fn unmount_lazy(target: impl AsRef<Path>) -> Result<()> {
    sys_mount::unmount(&target, UnmountFlags::DETACH).doing("unmounting", target.as_ref().display())
}

fn call(source: &Path, target: &Path, fstype: &str, flags: MountFlags, data: &str) -> io::Result<()> {
    let mut request = sys_mount::Mount::builder().fstype(fstype).flags(flags);
    if !data.is_empty() {
        request = request.data(data);
    }
    request.mount(source, target).map(drop)
}

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountInfo {
    /// The mount's number.
    pub id: u32,
    /// The number of the mount it lies on.
    pub parent: u32,
    /// Major and minor number of the file system's device.
    pub device: (u32, u32),
    /// Which directory of the file system is shown.
    pub root: PathBuf,
    /// Where.
    pub target: PathBuf,
    /// This mount's options: `ro,noatime`.
    pub options: String,
    /// `shared:N`, `master:N`…
    pub propagation: Vec<String>,
    /// The file system's type.
    pub fstype: String,
    /// What was mounted.
    pub source: String,
    /// The file system's options.
    pub super_options: String,
}

impl MountInfo {
    /// Whether nothing can be written here: the mount or its file system is read-only.
    pub fn is_read_only(&self) -> bool {
        [&self.options, &self.super_options]
            .iter()
            .any(|o| o.split(',').any(|word| word == "ro"))
    }
}

/// What is mounted, in the order of mounting.
pub fn mounted() -> Result<Vec<MountInfo>> {
    let text = file::read_bounded("/proc/self/mountinfo", 4 << 20)?;
    Ok(parse_mountinfo(&text))
}

/// Reads the text of a `mountinfo` file. A line that is not understood is left out.
pub fn parse_mountinfo(text: &[u8]) -> Vec<MountInfo> {
    text.split(|b| *b == b'\n')
        .filter_map(|line| self::line(line).ok().map(|(_, info)| info))
        .collect()
}

fn line(input: &[u8]) -> IResult<&[u8], MountInfo> {
    let (rest, (id, parent, major, _, minor, _)) = (field(number), field(number), number, char(':'), number, char(' ')).parse(input)?;
    let (rest, (root, target, options)) = (field(word), field(word), field(word)).parse(rest)?;
    // Optional fields, then a lone dash.
    let (rest, propagation) = many0(terminated(preceded(nom::combinator::not(tag(&b"- "[..])), word), char(' '))).parse(rest)?;
    let (rest, (_, fstype, source, super_options)) = (tag(&b"- "[..]), field(word), field(opt(word)), opt(word)).parse(rest)?;
    let path = |bytes: &[u8]| PathBuf::from(text(&unescape(bytes)));
    let info = MountInfo {
        id,
        parent,
        device: (major, minor),
        root: path(root),
        target: path(target),
        options: text(options),
        propagation: propagation.into_iter().map(text).collect(),
        fstype: text(fstype),
        source: text(&unescape(source.unwrap_or_default())),
        super_options: text(super_options.unwrap_or_default()),
    };
    Ok((rest, info))
}

fn field<'a, O>(
    inner: impl Parser<&'a [u8], Output = O, Error = nom::error::Error<&'a [u8]>>,
) -> impl Parser<&'a [u8], Output = O, Error = nom::error::Error<&'a [u8]>> {
    terminated(inner, char(' '))
}

fn word(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while1(|b: u8| b != b' ').parse(input)
}

fn number(input: &[u8]) -> IResult<&[u8], u32> {
    map_res(digit1, |digits: &[u8]| std::str::from_utf8(digits).unwrap_or("").parse()).parse(input)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Blanks, tabs, newlines and backslashes are written as `\040` and so on.
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        match after {
            [a, b, c, tail @ ..] if first == b'\\' && [a, b, c].iter().all(|d| d.is_oct_digit()) => {
                let value = [a, b, c].iter().fold(0u32, |sum, d| sum * 8 + u32::from(**d - b'0'));
                out.push(u8::try_from(value & 0xff).unwrap_or(b'?'));
                rest = tail;
            }
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "\
22 1 254:0 / / ro,relatime shared:1 - erofs /dev/dm-0 ro,seclabel,user_xattr
36 35 98:0 /mnt1 /a\\040name rw,noatime master:1 propagate_from:2 - ext4 /dev/root rw,errors=continue
40 22 0:23 / /run rw,nosuid - tmpfs  rw,size=1k
not a line
41 22 0:5 / /dev rw - devtmpfs none rw
";

    #[test]
    fn reads_every_form_of_line() {
        let all = parse_mountinfo(SAMPLE.as_bytes());
        let targets: Vec<_> = all.iter().map(|m| m.target.to_str().unwrap()).collect();
        assert_eq!(targets, ["/", "/a name", "/run", "/dev"]);
        assert_eq!(
            all[1],
            MountInfo {
                id: 36,
                parent: 35,
                device: (98, 0),
                root: "/mnt1".into(),
                target: "/a name".into(),
                options: "rw,noatime".into(),
                propagation: vec!["master:1".into(), "propagate_from:2".into()],
                fstype: "ext4".into(),
                source: "/dev/root".into(),
                super_options: "rw,errors=continue".into(),
            }
        );
        assert!(all[0].is_read_only() && !all[1].is_read_only());
        assert_eq!(all[2].source, "");
        assert_eq!(all[3].propagation, Vec::<String>::new());
    }

    #[test]
    fn reads_this_machine() {
        assert!(mounted().unwrap().iter().any(|m| m.target == Path::new("/")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_mountinfo(&bytes);
        }
    }
}
