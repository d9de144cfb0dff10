//! `fetch`: bytes from elsewhere, for programs that do not speak HTTP.
#![allow(clippy::print_stderr, reason = "a command: its error is its last line")]
#![allow(clippy::doc_markdown, reason = "the text is also the help, which shows no backticks")]

use clap::{Parser, Subcommand};
use skerry_fetch::get::{self, Request};
use skerry_fetch::program::{self, Done, Wanted};
use skerry_fetch::{metadata, source, wait};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Fetch bytes from elsewhere, or wait until a server answers
///
/// Proxies come from HTTP_PROXY, HTTPS_PROXY and NO_PROXY; trusted certificates
/// from /etc/ssl/certs/ca-certificates.crt.
#[derive(Parser)]
#[command(name = "fetch", version, max_term_width = 80)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Print what is at URL: http(s)://…, file:///…, github:USER, gitlab:USER
    Get {
        /// The address
        url: String,
        /// Fail if there is more than this many bytes
        #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
        max: u64,
        /// Fail if the bytes do not have this SHA-256
        #[arg(long, value_name = "HEX", value_parser = get::unhex)]
        sha256: Option<[u8; 32]>,
        /// Write to this file instead, under its name only when whole
        #[arg(long, value_name = "PATH")]
        output: Option<PathBuf>,
        /// Try this often, each time from where it broke off
        #[arg(long, value_name = "N", default_value_t = 1)]
        tries: u32,
    },
    /// See to it that a program is there: the right one, whole, executable
    ///
    /// What is there and has the right SHA-256 is kept, and nobody is asked.
    Program {
        /// Where it is to lie
        #[arg(long, value_name = "PATH")]
        at: PathBuf,
        /// From where it is fetched if it does not
        #[arg(long, value_name = "URL", value_parser = program::address)]
        url: Option<String>,
        /// What it must hash to
        #[arg(long, value_name = "HEX", value_parser = get::unhex)]
        sha256: Option<[u8; 32]>,
        /// The published list of digests: believed once, kept beside the program
        #[arg(long, value_name = "URL", value_parser = program::address)]
        sums: Option<String>,
    },
    /// Ask clouds for metadata, in order; one JSON document, of the first that answers
    Metadata {
        /// aws, gcp, azure, openstack, digitalocean, hetzner, vultr, scaleway, packet
        #[arg(required = true)]
        clouds: Vec<String>,
        /// Give up after this many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 20)]
        deadline: u64,
    },
    /// Wait until URL answers with success (2xx)
    Wait {
        /// The address
        url: String,
        /// Believe whoever answers: for servers on this machine
        #[arg(long)]
        insecure: bool,
        /// Give up after this many seconds
        #[arg(long, value_name = "SECONDS")]
        deadline: Option<u64>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<(), String> {
    match what {
        What::Get {
            url,
            max,
            sha256,
            output,
            tries,
        } => {
            let request = Request {
                max,
                sha256,
                tries,
                ..Request::new(source::parse(&url)?)
            };
            let done = match output {
                Some(path) => get::get_file(&request, &path),
                None => get::get(&request, &mut std::io::stdout().lock()),
            };
            done.map(drop).map_err(|e| e.to_string())
        }
        What::Program { at, url, sha256, sums } => {
            let wanted = Wanted {
                at,
                url,
                sha256,
                sums,
                tries: 5,
                pause: Duration::from_secs(1),
            };
            let at = wanted.at.display().to_string();
            if let Done::Fetched(bytes, digest) = program::program(&wanted)? {
                eprintln!("{at}: {bytes} bytes, SHA-256 {digest}");
            }
            Ok(())
        }
        What::Metadata { clouds, deadline } => {
            let until = Instant::now() + Duration::from_secs(deadline.min(3600));
            let said = metadata::first(&clouds, until).map_err(|why| why.join("\n"))?;
            let text = serde_json::to_string(&said).map_err(|e| e.to_string())?;
            writeln!(std::io::stdout(), "{text}").map_err(|e| e.to_string())
        }
        What::Wait { url, insecure, deadline } => wait::wait(&url, insecure, deadline.map(Duration::from_secs)),
    }
}
