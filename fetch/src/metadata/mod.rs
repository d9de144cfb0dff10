//! Metadata: what a cloud tells a machine about itself. A name, SSH keys, user data; asked for within a bound of time.
//!
//! [`clouds`] holds the one table of who is asked what; [`exchange`] is one bounded question. Nothing here decides whether a cloud is
//! to be asked at all: who calls has looked at the firmware and at the configuration.

pub mod clouds;
pub mod exchange;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clouds::Cloud;
use exchange::{Question, ask};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// User data is no larger; room config reads no more of a source.
pub const USER_DATA_MAX: usize = 1 << 20;
/// Any other answer is no larger.
const TEXT_MAX: usize = 64 * 1024;
/// More keys are not taken.
const KEYS_MAX: usize = 64;
/// A server that is busy is asked again, so often, after this pause.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// What a cloud said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// Which cloud.
    pub source: String,
    /// The machine's name.
    pub hostname: Option<String>,
    /// The name counts as configuration (k3OS's rule: of aws and openstack); else it is the machine's only where nobody named it.
    pub hostname_counts: bool,
    /// SSH keys, a line each.
    pub keys: Vec<String>,
    /// User data, as it is.
    #[serde(serialize_with = "as_base64")]
    pub user_data: Option<Vec<u8>>,
}

#[allow(clippy::ref_option, reason = "the form that serde demands")]
fn as_base64<S: serde::Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(to)
}

/// Why a cloud says nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A question has no answer.
    #[error("asking {0} for {1}: {2}")]
    Exchange(String, String, exchange::Error),
    /// The server says no.
    #[error("asking {0} for {1}: the server answers {2}")]
    Status(String, String, u16),
    /// The answer is not what is documented.
    #[error("asking {0} for {1}: the answer is not understood")]
    Form(String, String),
    /// Fetching over https.
    #[error("{0}")]
    Get(#[from] crate::get::Error),
}

impl Error {
    fn may_pass(&self) -> bool {
        match self {
            Self::Exchange(.., exchange::Error::Way(_)) => true,
            Self::Status(.., status) => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// Asks the clouds, in order, until one says something. What each said instead is in the error, a line each.
pub fn first(names: &[String], until: Instant) -> Result<Metadata, Vec<String>> {
    let mut why = Vec::new();
    for name in names {
        let Some(cloud) = clouds::CLOUDS.iter().find(|cloud| cloud.name == name) else {
            why.push(format!("{name}: nothing is known of how it is asked"));
            continue;
        };
        match one(cloud, None, until) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => why.push(format!("{name}: {error}")),
        }
    }
    Err(why)
}

/// Asks one cloud, at its own address or (tests) at another.
pub fn one(cloud: &Cloud, at: Option<SocketAddr>, until: Instant) -> Result<Metadata, Error> {
    let mut tries = 1;
    loop {
        let asker = Asker {
            cloud: cloud.name,
            server: at.unwrap_or(SocketAddr::new(IpAddr::V4(cloud.address), 80)),
            host: cloud.host,
            until,
        };
        match (cloud.says)(&asker) {
            Err(error) if error.may_pass() && tries < TRIES && until.saturating_duration_since(Instant::now()) > PAUSE => {
                std::thread::sleep(PAUSE);
                tries += 1;
            }
            Ok(mut metadata) => {
                cloud.name.clone_into(&mut metadata.source);
                metadata.keys = tidy(&metadata.keys);
                metadata.hostname = metadata.hostname.and_then(|name| plain_name(&name));
                metadata.user_data = metadata.user_data.filter(|bytes| !bytes.is_empty());
                return Ok(metadata);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Keys, each one line; what could not be one is left out.
fn tidy(keys: &[String]) -> Vec<String> {
    let mut tidy: Vec<String> = Vec::new();
    for key in keys.iter().flat_map(|text| text.lines()).map(str::trim) {
        let is_key = !key.is_empty() && !key.starts_with('#') && !key.chars().any(char::is_control);
        if is_key && tidy.len() < KEYS_MAX && !tidy.iter().any(|there| there == key) {
            tidy.push(key.to_owned());
        }
    }
    tidy
}

/// A host name: one word of letters, digits, hyphens and dots.
fn plain_name(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    (!text.is_empty() && text.len() <= 253 && text.chars().all(plain)).then(|| text.to_owned())
}

/// One server, asked several things.
#[derive(Debug)]
pub struct Asker {
    cloud: &'static str,
    server: SocketAddr,
    host: &'static str,
    until: Instant,
}

/// What is special about a question.
#[derive(Debug, Clone, Copy, Default)]
struct How<'a> {
    put: bool,
    headers: &'a [(&'a str, &'a str)],
    is_privileged: bool,
    max: Option<usize>,
}

impl Asker {
    fn exchange(&self, path: &str, how: How<'_>) -> Result<(u16, Vec<u8>), Error> {
        let question = Question {
            method: if how.put { "PUT" } else { "GET" },
            server: self.server,
            host: self.host,
            path,
            headers: how.headers,
            is_privileged: how.is_privileged,
            max: how.max.unwrap_or(TEXT_MAX),
            until: self.until,
        };
        ask(&question).map_err(|error| Error::Exchange(self.cloud.to_owned(), path.to_owned(), error))
    }

    /// What is there; none if nothing is (404).
    fn maybe(&self, path: &str, how: How<'_>) -> Result<Option<Vec<u8>>, Error> {
        match self.exchange(path, how)? {
            (200..300, body) => Ok(Some(body)),
            (404 | 410, _) => Ok(None),
            (status, _) => Err(Error::Status(self.cloud.to_owned(), path.to_owned(), status)),
        }
    }

    /// A text that is not there is empty.
    fn text(&self, path: &str, how: How<'_>) -> Result<String, Error> {
        let bytes = self.maybe(path, how)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn user_data(&self, path: &str, how: How<'_>) -> Result<Option<Vec<u8>>, Error> {
        let max = Some(USER_DATA_MAX);
        self.maybe(path, How { max, ..how })
    }

    /// A document that must be there.
    fn json(&self, path: &str, how: How<'_>) -> Result<serde_json::Value, Error> {
        let bytes = self
            .maybe(path, how)?
            .ok_or_else(|| Error::Status(self.cloud.to_owned(), path.to_owned(), 404))?;
        serde_json::from_slice(&bytes).map_err(|_| Error::Form(self.cloud.to_owned(), path.to_owned()))
    }
}
