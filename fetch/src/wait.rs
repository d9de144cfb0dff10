//! Waiting: until a server answers with success.
//!
//! This runs as a readiness probe while a slow machine boots. So the port of a server on this machine is knocked at first, with nothing
//! but a socket; TLS and the HTTP client are made when somebody opens. Then one client asks again and again over one connection.

use crate::client;
use crate::get::chain;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(250);
/// For one answer: a server that is busy coming up may think for long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `url` answers 2xx; at most until `deadline` is over. `insecure`: whoever answers is believed.
pub fn wait(url: &str, insecure: bool, deadline: Option<Duration>) -> Result<(), String> {
    let start = Instant::now();
    let mut client = None;
    loop {
        let answer = match place(url) {
            Some(Place::Plain { address, host, path }) => ask(address, host, path),
            Some(Place::Secure { address }) if client.is_none() && TcpStream::connect_timeout(&address, PATIENCE).is_err() => {
                Err("nobody listens there".to_owned())
            }
            _ => {
                if client.is_none() {
                    let made = if insecure {
                        client::blind(PATIENCE)
                    } else {
                        client::trusting(Path::new(client::TRUSTED), PATIENCE)
                    };
                    client = Some(made.map_err(|e| format!("waiting for {url}: {}", chain(&e)))?);
                }
                client.as_ref().map_or(Err(String::new()), |client| ask_client(client, url))
            }
        };
        let why = match answer {
            Ok(200..300) => return Ok(()),
            Ok(status) => format!("the last answer was {status}"),
            Err(why) => why,
        };
        if deadline.is_some_and(|deadline| start.elapsed() + PAUSE > deadline) {
            return Err(format!("waiting for {url}: {why}"));
        }
        std::thread::sleep(PAUSE);
    }
}

/// A server on this machine, named by its number.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Plain { address: SocketAddr, host: &'a str, path: &'a str },
    Secure { address: SocketAddr },
}

/// Where a URL leads, if that is to a loopback address; none = the HTTP client knows.
fn place(url: &str) -> Option<Place<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let address: SocketAddr = host.parse().or_else(|_| format!("{host}:{port}").parse()).ok()?;
    let odd = |c: char| c.is_control() || c == ' ' || c == '#';
    if !address.ip().is_loopback() || path.contains(odd) {
        return None;
    }
    Some(if scheme == "http" {
        Place::Plain { address, host, path }
    } else {
        Place::Secure { address }
    })
}

/// One question in plain HTTP; the status.
fn ask(address: SocketAddr, host: &str, path: &str) -> Result<u16, String> {
    let exchange = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut start = Vec::new();
        // "HTTP/1.1 200" is all that counts.
        stream.take(12).read_to_end(&mut start)?;
        Ok(start)
    };
    let start = exchange().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&start);
    text.strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| "the answer is not HTTP".to_owned())
}

/// One question by the client; the status. The answer is read to its end, so that the connection can be used again.
fn ask_client(client: &reqwest::blocking::Client, url: &str) -> Result<u16, String> {
    let answer = client.get(url).send().map_err(|e| chain(&e))?;
    let status = answer.status().as_u16();
    let _ = std::io::copy(&mut answer.take(256 * 1024), &mut std::io::sink());
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_numbers_are_asked_without_the_client() {
        let address = |text: &str| text.parse().unwrap();
        assert_eq!(
            place("http://127.0.0.1:10248/healthz"),
            Some(Place::Plain {
                address: address("127.0.0.1:10248"),
                host: "127.0.0.1:10248",
                path: "/healthz"
            })
        );
        assert_eq!(
            place("http://127.0.0.1"),
            Some(Place::Plain {
                address: address("127.0.0.1:80"),
                host: "127.0.0.1",
                path: "/"
            })
        );
        assert_eq!(
            place("https://127.0.0.1:6443/readyz"),
            Some(Place::Secure {
                address: address("127.0.0.1:6443")
            })
        );
        assert_eq!(
            place("https://[::1]/x"),
            Some(Place::Secure {
                address: address("[::1]:443")
            })
        );
        for other in [
            "http://10.0.0.1/",
            "https://example.com/",
            "http://127.0.0.1/a b",
            "127.0.0.1",
            "http://127.0.0.1@evil/",
        ] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
