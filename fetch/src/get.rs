//! Getting: bytes from a source into a writer, bounded, resumed, checked.

use crate::client;
use crate::source::Source;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to get, and within what bounds.
#[derive(Debug, Clone)]
pub struct Request {
    /// From where.
    pub source: Source,
    /// Not a byte more.
    pub max: u64,
    /// What the bytes must hash to.
    pub sha256: Option<[u8; 32]>,
    /// How often to try while the trouble may pass.
    pub tries: u32,
    /// Before the second try; doubled before each further one, up to a minute.
    pub pause: Duration,
    /// For each connection and each read.
    pub patience: Duration,
    /// File of the certificates to trust.
    pub trusted: PathBuf,
    /// Permissions of the file that is written.
    pub mode: u32,
}

impl Request {
    /// A request with the usual bounds: 64 MiB, one try, 30 s a read, Debian's certificates.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            max: 64 << 20,
            sha256: None,
            tries: 1,
            pause: Duration::from_secs(1),
            patience: Duration::from_secs(30),
            trusted: client::TRUSTED.into(),
            mode: 0o644,
        }
    }
}

/// Why there are no bytes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source has more than was allowed.
    #[error("fetching {0}: it is larger than the {1} bytes allowed")]
    TooLarge(String, u64),
    /// The bytes are others than expected.
    #[error("fetching {0}: its SHA-256 is {1}, not the one expected")]
    Digest(String, String),
    /// The server says no.
    #[error("fetching {0}: the server answers {1}")]
    Status(String, StatusCode),
    /// What was there when we began is no longer there.
    #[error("fetching {0}: it changed while it was fetched; fetch it again")]
    Changed(String),
    /// The way there, or back.
    #[error("fetching {0}: {1}")]
    Way(String, String),
    /// The file to read or the place to write to.
    #[error("{0}: {1}")]
    File(String, io::Error),
}

impl Error {
    /// Whether another try may help.
    fn may_pass(&self) -> bool {
        match self {
            Self::Way(..) => true,
            Self::Status(_, status) => status.is_server_error() || matches!(status.as_u16(), 408 | 429),
            _ => false,
        }
    }
}

/// Where the bytes go: written, counted and hashed.
struct Sink<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    count: u64,
}

/// Gets a source into `out`. What was written before an error stays written.
pub fn get(request: &Request, out: &mut dyn Write) -> Result<u64, Error> {
    run(
        request,
        Sink {
            out,
            hash: Sha256::new(),
            count: 0,
        },
    )
}

/// Gets a source into a file: beside it first, and under its name when it is whole, checked and on the disk. With a digest, what an
/// earlier run left half-done is gone on with.
pub fn get_file(request: &Request, path: &Path) -> Result<u64, Error> {
    let failed = |doing: &'static str| move |e: io::Error| Error::File(format!("{doing} {}", path.display()), e);
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let keep = request.sha256.is_some();
    let options = File::options().read(true).write(true).create(true).truncate(!keep).open(&part);
    let mut file = options.map_err(failed("writing"))?;
    let mut hash = Sha256::new();
    let count = if keep {
        io::copy(&mut file, &mut hash).map_err(failed("reading the half-done"))?
    } else {
        0
    };
    let done = run(
        request,
        Sink {
            out: &mut file,
            hash,
            count,
        },
    );
    if matches!(done, Err(Error::Digest(..) | Error::TooLarge(..) | Error::Changed(..))) {
        // Not the bytes we want: the next run begins anew. If it cannot be removed, the next run finds the same and tries again.
        let _ = std::fs::remove_file(&part);
    }
    let count = done?;
    file.set_permissions(Permissions::from_mode(request.mode))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&part, path))
        .map_err(failed("writing"))?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    skerry_sys::file::flush_dir(dir).map_err(|e| Error::File(format!("writing {}", path.display()), e.source))?;
    Ok(count)
}

fn run(request: &Request, mut sink: Sink<'_>) -> Result<u64, Error> {
    match &request.source {
        Source::File(path) => {
            let shown = path.display().to_string();
            let mut file = File::open(path).map_err(|e| Error::File(format!("reading {shown}"), e))?;
            skip(&mut file, sink.count).map_err(|e| Error::File(format!("reading {shown}"), e))?;
            sink.copy(&mut file, &shown, request.max, |e| Error::File(format!("reading {shown}"), e))?;
        }
        Source::Http(url) => http(request, url, &mut sink)?,
    }
    sink.out.flush().map_err(|e| Error::File("writing".into(), e))?;
    let digest: [u8; 32] = sink.hash.finalize().into();
    match request.sha256 {
        Some(expected) if expected != digest => Err(Error::Digest(name(&request.source), hex(&digest))),
        _ => Ok(sink.count),
    }
}

/// Tries until it is whole, or there is no hope, or no try left.
fn http(request: &Request, url: &str, sink: &mut Sink<'_>) -> Result<(), Error> {
    let made = if url.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("https:")) {
        client::trusting(&request.trusted, request.patience)
    } else {
        client::plain(request.patience)
    };
    let client = made.map_err(|e| Error::Way(url.to_owned(), chain(&e)))?;
    let mut mark = None;
    let mut pause = request.pause;
    for left in (0..request.tries.max(1)).rev() {
        match attempt(&client, request, url, sink, &mut mark) {
            Err(error) if error.may_pass() && left > 0 => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(60));
            }
            other => return other,
        }
    }
    Ok(())
}

/// One exchange, from where the last one broke off. `mark` tells whether it is still the same thing.
fn attempt(client: &Client, request: &Request, url: &str, sink: &mut Sink<'_>, mark: &mut Option<String>) -> Result<(), Error> {
    let way = |why: String| Error::Way(url.to_owned(), why);
    let mut asking = client.get(url);
    if sink.count > 0 {
        asking = asking.header(RANGE, format!("bytes={}-", sink.count));
        if let Some(mark) = mark.as_ref() {
            asking = asking.header(IF_RANGE, mark);
        }
    }
    let mut answer = asking.send().map_err(|e| way(chain(&e)))?;
    let seen = marked(&answer);
    if sink.count > 0 && mark.is_some() && *mark != seen {
        return Err(Error::Changed(url.to_owned()));
    }
    *mark = seen;
    match answer.status() {
        StatusCode::PARTIAL_CONTENT if begins_at(&answer, sink.count) => {}
        // The server does not know ranges: what we have is read once more, and left out.
        StatusCode::OK => {
            if answer.content_length().is_some_and(|length| length > request.max) {
                return Err(Error::TooLarge(url.to_owned(), request.max));
            }
            skip(&mut answer, sink.count).map_err(|e| way(e.to_string()))?;
        }
        // Nothing is left behind what we have: the digest tells whether that is all.
        StatusCode::RANGE_NOT_SATISFIABLE if sink.count > 0 && request.sha256.is_some() => return Ok(()),
        StatusCode::PARTIAL_CONTENT => return Err(way("the server sends another part than the one asked for".into())),
        status => return Err(Error::Status(url.to_owned(), status)),
    }
    sink.copy(&mut answer, url, request.max, |e| way(chain(&e)))
}

impl Sink<'_> {
    /// Copies to the end. An error of reading is `lost`; one of writing is a file's.
    fn copy(&mut self, from: &mut dyn Read, name: &str, max: u64, lost: impl Fn(io::Error) -> Error) -> Result<(), Error> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = match from.read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(&lost)?,
            };
            let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
                return Ok(());
            };
            if self.count.saturating_add(length as u64) > max {
                return Err(Error::TooLarge(name.to_owned(), max));
            }
            self.out
                .write_all(bytes)
                .map_err(|e| Error::File(format!("writing what comes from {name}"), e))?;
            self.hash.update(bytes);
            self.count += length as u64;
        }
    }
}

/// What tells one version of a thing from another: its strong `ETag`, or its date.
fn marked(answer: &Response) -> Option<String> {
    let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(LAST_MODIFIED))
}

/// Whether `Content-Range: bytes FROM-…` begins where we are.
fn begins_at(answer: &Response, count: u64) -> bool {
    let range = answer
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let from = range
        .strip_prefix("bytes ")
        .and_then(|range| range.split('-').next())
        .and_then(|from| from.parse().ok());
    from == Some(count)
}

fn skip(from: &mut dyn Read, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut from.take(count), &mut io::sink())?;
    if skipped == count {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it is shorter than what was fetched before",
        ))
    }
}

fn name(source: &Source) -> String {
    match source {
        Source::File(path) => path.display().to_string(),
        Source::Http(url) => url.clone(),
    }
}

/// An error and its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// 64 hexadecimal digits as bytes.
pub fn unhex(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("{text:?}: a SHA-256 has 64 hexadecimal digits");
    let text = text.trim();
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = text
            .get(at * 2..at * 2 + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            .ok_or_else(wrong)?;
    }
    Ok(bytes)
}
