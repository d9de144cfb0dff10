//! An image onto a disk: only what is mapped, checked before, held back at its head, read back after.
//!
//! A compressed image is unpacked while it is read, by `ruzstd` (confined to this file).
//!
//! Until the last write, which is sector 0, the disk boots nothing: neither what was there nor half of what comes.

use crate::bmap::{Blocks, Bmap};
use crate::content::Digest;
use crate::device::Device;
use crate::layout::MIB;
use crate::perform::Phase;
use anyhow::{Context, Result, bail, ensure};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// No map is longer.
const MAP: usize = 16 << 20;
const CHUNK: usize = 1 << 20;

/// An image to be flashed.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    /// Its map.
    pub map: Bmap,
}

impl Image {
    /// Opens `x.img` or `x.img.zst`. Its map is in `x.img.bmap`; without one, an image that is not compressed is mapped by its holes.
    pub fn open(path: &Path) -> Result<Self> {
        let raw = if is_compressed(path) {
            path.with_extension("")
        } else {
            path.to_owned()
        };
        let mut beside = raw.into_os_string();
        beside.push(".bmap");
        let beside = PathBuf::from(beside);
        let map = if beside.exists() {
            let text = skerry_sys::file::read_text(&beside, MAP)?;
            Bmap::parse(&text).with_context(|| format!("in {}", beside.display()))?
        } else if is_compressed(path) {
            bail!(
                "looking for {}: it is not there, and says what to write / try: copy it beside the image, or unpack the image",
                beside.display()
            );
        } else {
            let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
            Bmap::of(&file)?
        };
        Ok(Self {
            path: path.to_owned(),
            map,
        })
    }

    fn stream(&self) -> Result<Box<dyn Read>> {
        let doing = || format!("opening {}", self.path.display());
        let file = File::open(&self.path).with_context(doing)?;
        if !is_compressed(&self.path) {
            return Ok(Box::new(file));
        }
        let frames = Frames::new(BufReader::with_capacity(CHUNK, file));
        Ok(Box::new(frames.with_context(|| format!("unpacking {}", self.path.display()))?))
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "zst")
}

/// The frames of a compressed file, one behind the other (RFC 8878, section 3).
struct Frames {
    decoder: Option<StreamingDecoder<BufReader<File>, FrameDecoder>>,
}

impl Frames {
    fn new(file: BufReader<File>) -> io::Result<Self> {
        let decoder = StreamingDecoder::new(file).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why.to_string()))?;
        Ok(Self { decoder: Some(decoder) })
    }
}

impl Read for Frames {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(mut decoder) = self.decoder.take() {
            let read = decoder.read(into)?;
            if read > 0 || into.is_empty() {
                self.decoder = Some(decoder);
                return Ok(read);
            }
            let mut file = decoder.into_inner();
            if !file.fill_buf()?.is_empty() {
                *self = Self::new(file)?;
            }
        }
        Ok(0)
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// Bytes done in all phases.
    pub done: u64,
    /// All of them.
    pub total: u64,
}

/// Flashes an image. An error before the first write leaves the disk as it was, and says so.
pub fn flash(image: &Image, device: &mut dyn Device, tell: &mut dyn FnMut(Progress)) -> Result<()> {
    let map = &image.map;
    let untouched = "nothing was written";
    ensure!(
        device.bytes() >= map.bytes,
        "looking at the disk: it has {} MiB, and the image {}: {untouched} / try: a larger disk",
        device.bytes() / MIB,
        map.bytes.div_ceil(MIB)
    );
    ensure!(
        device.sector_bytes() == 512,
        "looking at the disk: its sectors have {} bytes, and the image is made for 512: {untouched}",
        device.sector_bytes()
    );
    let total = 3 * map.mapped_bytes();
    let mut done = 0;
    let mut telling = |phase: Phase, bytes: usize| {
        done += bytes as u64;
        tell(Progress { phase, done, total });
    };
    pour(image, &mut |_, bytes| {
        telling(Phase::Check, bytes.len());
        Ok(())
    })
    .context(untouched)?;

    let zeros = vec![0; usize::try_from(MIB)?];
    let tail = device.bytes() - MIB.min(device.bytes());
    for at in [0, tail] {
        device
            .write_at(at, zeros.get(..usize::try_from(MIB.min(device.bytes() - at))?).unwrap_or_default())
            .context("erasing the old partition table")?;
    }
    device.flush().context("flushing")?;

    let mut head: Vec<(u64, Vec<u8>)> = vec![];
    pour(image, &mut |at, bytes| {
        telling(Phase::Write, bytes.len());
        // Pieces do not cross the head's end: they are as long as it, and begin at blocks.
        let length = usize::try_from(MIB.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
        let (first, rest) = bytes.split_at(length);
        if !first.is_empty() {
            head.push((at, first.to_vec()));
        }
        if rest.is_empty() {
            Ok(())
        } else {
            device.write_at(at + length as u64, rest).context("writing")
        }
    })?;
    device.flush().context("flushing")?;
    for (at, bytes) in &head {
        let from = if *at == 0 { 512 } else { 0 };
        device
            .write_at(at + from as u64, bytes.get(from..).unwrap_or_default())
            .context("writing")?;
    }
    device.flush().context("flushing")?;
    check_back(map, device, &head, &mut |bytes| telling(Phase::ReadBack, bytes))?;
    if let Some((0, bytes)) = head.first().map(|(at, bytes)| (*at, bytes)) {
        let sector = bytes.get(..512).unwrap_or(bytes);
        device.write_at(0, sector).context("writing sector 0")?;
        device.flush().context("flushing")?;
        device.forget().context("reading back")?;
        let mut found = vec![0; sector.len()];
        device.read_at(0, &mut found).context("reading back")?;
        ensure!(
            found == sector,
            "reading back sector 0: it is not what was written / try: another disk"
        );
    }
    Ok(())
}

/// Hands out what is mapped, piece by piece, and compares each range's digest before the last piece of it is handed out.
fn pour(image: &Image, to: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let doing = || format!("reading {}", image.path.display());
    let mut stream = image.stream()?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    for range in &image.map.ranges {
        skip(&mut stream, range.at() - at).with_context(doing)?;
        at = range.at();
        let end = at + image.map.length(range);
        let mut hash = Sha256::new();
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            stream.read_exact(piece).with_context(doing)?;
            hash.update(&*piece);
            if at + length as u64 == end {
                ensure!(
                    Digest(hash.clone().finalize().into()) == range.sha256,
                    "checking {}: the blocks {}-{} are not what the bmap file says / try: copy the image again",
                    image.path.display(),
                    range.first,
                    range.last
                );
            }
            to(at, piece)?;
            at += length as u64;
        }
    }
    Ok(())
}

fn skip(from: &mut Box<dyn Read>, bytes: u64) -> io::Result<()> {
    match io::copy(&mut from.take(bytes), &mut io::sink())? {
        copied if copied == bytes => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads back all but sector 0, which is not there yet: for it the held-back one is taken.
fn check_back(map: &Bmap, device: &mut dyn Device, head: &[(u64, Vec<u8>)], tell: &mut dyn FnMut(usize)) -> Result<()> {
    device.forget().context("reading back")?;
    let mut buffer = vec![0; CHUNK];
    for range in &map.ranges {
        let (mut at, end) = (range.at(), range.at() + map.length(range));
        let mut hash = Sha256::new();
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            device.read_at(at, piece).context("reading back")?;
            if let (0, Some((0, first))) = (at, head.first()) {
                let sector = first.len().min(512).min(length);
                if let (Some(place), Some(bytes)) = (piece.get_mut(..sector), first.get(..sector)) {
                    place.copy_from_slice(bytes);
                }
            }
            hash.update(&*piece);
            tell(length);
            at += length as u64;
        }
        compare(range, &Digest(hash.finalize().into()))?;
    }
    Ok(())
}

fn compare(range: &Blocks, found: &Digest) -> Result<()> {
    ensure!(
        *found == range.sha256,
        "reading back the blocks {}-{}: they are not what was written / try: another disk; this one loses data",
        range.first,
        range.last
    );
    Ok(())
}
