//! `fetch metadata` against stand-ins at the clouds' real addresses, in a network namespace; among them one that hangs, one that
//! drips and one that sends a gibibyte.
//!
//! Needs root and `ip`; without them it is skipped and says so.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: it panics to fail, and prints why it was skipped"
)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A namespace with the two addresses on its loopback.
struct Space(String);

impl Space {
    fn new(name: &str) -> Option<Self> {
        let able = rustix::process::geteuid().is_root()
            && Command::new("unshare")
                .args(["-n", "ip", "link"])
                .output()
                .is_ok_and(|o| o.status.success());
        if !able {
            remark("skipped: metadata at its real address: not root, or no `ip` and no network namespaces");
            return None;
        }
        let space = Self(format!("skm{name}{}", std::process::id()));
        let ip = |words: &[&str]| assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
        ip(&["netns", "add", &space.0]);
        ip(&["-n", &space.0, "link", "set", "lo", "up"]);
        for address in ["169.254.169.254/32", "169.254.42.42/32"] {
            ip(&["-n", &space.0, "addr", "add", address, "dev", "lo"]);
        }
        Some(space)
    }

    /// A server in the namespace, on a thread of its own.
    fn serve(&self, address: &'static str, each: fn(TcpStream)) {
        let (name, (sender, receiver)) = (self.0.clone(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            let space = File::open(format!("/run/netns/{name}")).unwrap();
            rustix::thread::move_into_link_name_space(space.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network)).unwrap();
            let listener = TcpListener::bind((address, 80)).unwrap();
            sender.send(()).unwrap();
            for stream in listener.incoming() {
                std::thread::spawn(move || each(stream.unwrap()));
            }
        });
        receiver.recv().unwrap();
    }

    fn fetch(&self, words: &[&str]) -> (Output, Duration) {
        let start = Instant::now();
        let output = Command::new("ip")
            .args(["netns", "exec", &self.0, env!("CARGO_BIN_EXE_fetch"), "metadata"])
            .args(words)
            .output()
            .unwrap();
        (output, start.elapsed())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Reads a question: method, path, headers.
fn question(stream: &TcpStream) -> (String, Vec<String>) {
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let first = lines.next().unwrap_or_default();
    let headers = lines.take_while(|line| !line.is_empty()).collect();
    (first.rsplit_once(' ').map(|(q, _)| q.to_owned()).unwrap_or_default(), headers)
}

fn answer(mut stream: &TcpStream, status: u16, body: &str) {
    let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

/// EC2, where a token is demanded.
fn aws(stream: &TcpStream) {
    let (asked, headers) = question(stream);
    let has_token = headers.iter().any(|h| h == "X-aws-ec2-metadata-token: secret-token");
    let body = match asked.as_str() {
        "PUT /latest/api/token" => return answer(stream, 200, "secret-token"),
        _ if !has_token => return answer(stream, 401, ""),
        "GET /latest/meta-data/local-hostname" => "ip-10-0-0-5",
        "GET /latest/meta-data/public-keys/" => "0=me",
        "GET /latest/meta-data/public-keys/0/openssh-key" => "ssh-rsa AAAA me",
        "GET /latest/user-data" => "#cloud-config\n",
        _ => return answer(stream, 404, ""),
    };
    answer(stream, 200, body);
}

fn scaleway(stream: &TcpStream) {
    let is_privileged = stream.peer_addr().unwrap().port() < 1024;
    match question(stream).0.as_str() {
        "GET /conf?format=json" => answer(stream, 200, r#"{"hostname":"edge","ssh_public_keys":[{"key":"ssh-rsa AAAA me"}]}"#),
        "GET /user_data/cloud-init" if is_privileged => answer(stream, 200, "hostname: by-user-data\n"),
        _ => answer(stream, 403, ""),
    }
}

#[test]
fn at_their_real_addresses() {
    let Some(space) = Space::new("a") else { return };
    space.serve("169.254.169.254", |stream| aws(&stream));
    space.serve("169.254.42.42", |stream| scaleway(&stream));
    let (output, took) = space.fetch(&["aws"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said.trim(),
        r#"{"source":"aws","hostname":"ip-10-0-0-5","hostname_counts":true,"keys":["ssh-rsa AAAA me"],"user_data":"I2Nsb3VkLWNvbmZpZwo="}"#,
        "{output:?}"
    );
    println!("aws: {} ms", took.as_millis());
    // The first that answers as itself: this address is EC2's, not Hetzner's.
    let (output, _) = space.fetch(&["hetzner", "digitalocean", "scaleway"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains(r#""source":"scaleway""#) && said.contains("aG9zdG5hbWU6IGJ5LXVzZXItZGF0YQo="),
        "{output:?}"
    );
}

#[test]
fn a_server_that_hangs_drips_or_floods_is_left_in_time() {
    let hang = |stream: TcpStream| {
        std::thread::sleep(Duration::from_secs(60));
        drop(stream);
    };
    let drip = |mut stream: TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let flood = |mut stream: TcpStream| {
        question(&stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        while stream.write_all(&[b'x'; 8192]).is_ok() {}
    };
    for (name, each) in [("h", hang as fn(TcpStream)), ("d", drip), ("f", flood)] {
        let Some(space) = Space::new(name) else { return };
        space.serve("169.254.169.254", each);
        for cloud in ["aws", "openstack", "digitalocean"] {
            let (output, took) = space.fetch(&[cloud, "--deadline", "4"]);
            assert!(!output.status.success(), "{output:?}");
            assert!(took < Duration::from_secs(6), "{name} {cloud}: {took:?}");
            println!(
                "{name} {cloud}: {} ms: {}",
                took.as_millis(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
    }
}

#[test]
fn where_nobody_is_it_ends_at_once() {
    let Some(space) = Space::new("n") else { return };
    let (output, took) = space.fetch(&["aws", "gcp"]);
    assert!(!output.status.success() && took < Duration::from_secs(10), "{took:?} {output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 2, "{output:?}");
}

/// To whoever reads whether anything was skipped, from whom println! is kept.
fn remark(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}"); // nobody reads
}
