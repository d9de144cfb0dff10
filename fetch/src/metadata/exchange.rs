//! One question and one answer in plain HTTP/1.1 (RFC 9112), bounded in time and size whatever the server does.
//!
//! Metadata servers have a number for an address and speak no TLS, so neither names nor certificates are needed; and the HTTP client's
//! limits are for each read, which a server that drips never offends.

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

/// For a connection: these servers are on the same machine or in the next rack.
const CONNECT: Duration = Duration::from_secs(2);
/// For a whole answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The status line and the headers are no longer.
const HEAD_MAX: usize = 16 * 1024;

/// A question.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// `GET` or `PUT`.
    pub method: &'static str,
    /// The server.
    pub server: SocketAddr,
    /// What the server is called in the request.
    pub host: &'a str,
    /// The path, with its query.
    pub path: &'a str,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// From a port that only root can have.
    pub is_privileged: bool,
    /// Not a byte more.
    pub max: usize,
    /// Not a moment longer.
    pub until: Instant,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers in time, or the connection broke.
    #[error("{0}")]
    Way(#[from] io::Error),
    /// There is more than is allowed.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The answer is not HTTP.
    #[error("the answer is not HTTP")]
    NotHttp,
}

/// Asks; gives the status and the body.
pub fn ask(question: &Question<'_>) -> Result<(u16, Vec<u8>), Error> {
    let until = question.until.min(Instant::now() + ANSWER);
    let mut stream = if question.is_privileged {
        from_low_port(question.server)?
    } else {
        TcpStream::connect_timeout(&question.server, left(until)?.min(CONNECT))?
    };
    let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", question.method, question.path, question.host);
    for (name, value) in question.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("Accept: */*\r\nConnection: close\r\n");
    if question.method != "GET" {
        text.push_str("Content-Length: 0\r\n");
    }
    text.push_str("\r\n");
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(text.as_bytes())?;
    let mut reader = Bounded {
        stream,
        until,
        buffer: Vec::new(),
    };
    let head = reader.head()?;
    let (status, length, chunked) = parse(&head).ok_or(Error::NotHttp)?;
    let body = if matches!(status, 204 | 304) {
        Vec::new()
    } else if chunked {
        reader.chunks(question.max)?
    } else {
        reader.plain(length, question.max)?
    };
    Ok((status, body))
}

/// Time that is left; none left is a timeout.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
    } else {
        Ok(left)
    }
}

/// A connection from one of the ports that only root can have (Scaleway's proof that root asks).
fn from_low_port(server: SocketAddr) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for port in (600..1024).rev() {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(CONNECT))?;
        if let Err(error) = bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)) {
            last = error.into();
            continue;
        }
        return match connect(&socket, &server) {
            Ok(()) => Ok(TcpStream::from(socket)),
            // The same pair of ports was used a moment ago.
            Err(rustix::io::Errno::ADDRNOTAVAIL) => continue,
            Err(error) => Err(error.into()),
        };
    }
    Err(last)
}

/// Status, length if it is said, and whether the body comes in chunks.
fn parse(head: &[u8]) -> Option<(u16, Option<usize>, bool)> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let (mut length, mut chunked) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match name.trim().to_ascii_lowercase().as_str() {
            "content-length" => length = Some(value.trim().parse().ok()?),
            "transfer-encoding" => chunked = value.to_ascii_lowercase().contains("chunked"),
            _ => {}
        }
    }
    Some((status, length, chunked))
}

/// Reading against the clock.
struct Bounded {
    stream: TcpStream,
    until: Instant,
    buffer: Vec<u8>,
}

impl Bounded {
    /// Reads some more; none is the end.
    fn more(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 16 * 1024];
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        let length = loop {
            match self.stream.read(&mut bytes) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => left(self.until).map(drop)?,
                // What a timeout of a socket looks like.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
                }
                other => break other?,
            }
        };
        self.buffer.extend_from_slice(bytes.get(..length).unwrap_or_default());
        Ok(length)
    }

    /// Up to and with the empty line.
    fn head(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(self.buffer.drain(..at + 4).collect());
            }
            if self.buffer.len() > HEAD_MAX || self.more()? == 0 {
                return Err(Error::NotHttp);
            }
        }
    }

    /// A body of this length, or to the end.
    fn plain(mut self, length: Option<usize>, max: usize) -> Result<Vec<u8>, Error> {
        if length.is_some_and(|length| length > max) {
            return Err(Error::TooLarge(max));
        }
        while length.is_none_or(|length| self.buffer.len() < length) {
            if self.buffer.len() > max {
                return Err(Error::TooLarge(max));
            }
            if self.more()? == 0 {
                if length.is_some() {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                break;
            }
        }
        if self.buffer.len() > max {
            return Err(Error::TooLarge(max));
        }
        self.buffer.truncate(length.unwrap_or(usize::MAX));
        Ok(self.buffer)
    }

    /// A body in chunks.
    fn chunks(mut self, max: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                match self.buffer.windows(2).position(|two| two == b"\r\n") {
                    Some(at) => break self.buffer.drain(..at + 2).collect::<Vec<u8>>(),
                    None if self.buffer.len() > 1024 || self.more()? == 0 => return Err(Error::NotHttp),
                    None => {}
                }
            };
            let text = String::from_utf8_lossy(&line);
            let size = text.trim().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(|_| Error::NotHttp)?;
            if size == 0 {
                return Ok(body);
            }
            if size > max || body.len() + size > max {
                return Err(Error::TooLarge(max));
            }
            while self.buffer.len() < size + 2 {
                if self.more()? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
            body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::TcpListener;

    /// A server that says these bytes to the first who asks, piece by piece, and then closes.
    fn server(pieces: Vec<Vec<u8>>, pause: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut scrap = [0; 4096];
            let _ = stream.read(&mut scrap);
            for piece in pieces {
                if stream.write_all(&piece).is_err() {
                    return;
                }
                std::thread::sleep(pause);
            }
        });
        address
    }

    fn answer(bytes: &[u8], max: usize) -> Result<(u16, Vec<u8>), Error> {
        ask_within(server(vec![bytes.to_vec()], Duration::ZERO), max, Duration::from_secs(5))
    }

    fn ask_within(server: SocketAddr, max: usize, limit: Duration) -> Result<(u16, Vec<u8>), Error> {
        ask(&Question {
            method: "GET",
            server,
            host: "x",
            path: "/",
            headers: &[],
            is_privileged: false,
            max,
            until: Instant::now() + limit,
        })
    }

    #[test]
    fn answers_in_each_form() {
        let ok = |text: &[u8]| answer(text, 10).unwrap();
        assert_eq!(ok(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), (200, b"abc".to_vec()));
        assert_eq!(ok(b"HTTP/1.0 200 OK\r\n\r\nabcd"), (200, b"abcd".to_vec()));
        assert_eq!(
            ok(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"),
            (200, b"abcde".to_vec())
        );
        assert_eq!(ok(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), (404, vec![]));
        let too_large = |text: &[u8]| matches!(answer(text, 10), Err(Error::TooLarge(10)));
        assert!(too_large(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\nabc"));
        assert!(too_large(b"HTTP/1.1 200 OK\r\n\r\nabcdefghijklmnop"));
        assert!(too_large(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nabc"));
        assert!(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", 10).is_err());
        assert!(matches!(answer(b"SSH-2.0-OpenSSH\r\n\r\n", 10), Err(Error::NotHttp)));
    }

    #[test]
    fn a_server_that_hangs_or_drips_is_left() {
        for (pieces, pause) in [
            (vec![vec![]; 1000], 10),
            (vec![b"H".to_vec(); 1000], 10),
            ([vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], vec![b"x".to_vec(); 1000]].concat(), 10),
        ] {
            let start = Instant::now();
            let server = server(pieces, Duration::from_millis(pause));
            assert!(ask_within(server, 1 << 20, Duration::from_millis(300)).is_err());
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_comes_nothing_breaks(bytes in proptest::collection::vec(any::<u8>(), 0..300), head: bool) {
            let bytes = if head { [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), bytes].concat() } else { bytes };
            if let Ok((_, body)) = answer(&bytes, 100) {
                prop_assert!(body.len() <= 100);
            }
        }
    }
}
