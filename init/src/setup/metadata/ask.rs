//! Asking: clouds by the program that speaks HTTP, a hypervisor by its own, files by reading.

use super::Wanted;
use super::said::Said;
use crate::root::Root;
use crate::said::said;
use anyhow::{Context, Result, bail};
use base64ct::{Base64, Encoding};
use skerry_config::cloud::{self, Way};
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const FETCH: &str = "/usr/lib/skerry/fetch";
/// The hypervisor's program for guests (Debian's open-vm-tools).
const RPC: &str = "/usr/bin/vmware-rpctool";
/// All asking together.
pub const LIMIT: Duration = Duration::from_secs(20);
/// What a program is given beyond its own deadline before it is ended.
const GRACE: Duration = Duration::from_secs(2);
/// For one question to the hypervisor.
const RPC_LIMIT: Duration = Duration::from_secs(3);
/// What a program may print: user data of 1 MiB, in base64.
const MOST: u64 = 3 << 20;

/// Asks in order until somebody says something; and what the others said instead.
pub fn ask(root: &Root, wanted: &Wanted) -> (Option<Said>, Vec<String>) {
    let until = Instant::now() + LIMIT;
    let mut why = vec![];
    for name in &wanted.clouds {
        let way = cloud::find(name).map(|cloud| cloud.way);
        let left = until.saturating_duration_since(Instant::now());
        let asked = match way {
            _ if left.is_zero() => Err(anyhow::anyhow!("asking {name}: no time is left")),
            Some(Way::Program) => vmware(left),
            _ => by_http(name, left),
        };
        match asked {
            Ok(said) => return (Some(said), why),
            Err(error) => why.push(said(&error)),
        }
    }
    for path in &wanted.files {
        match crate::sources::read(&root.at(path)) {
            Ok(bytes) => {
                let said = Said {
                    source: format!("file={path}"),
                    user_data: Some(bytes).filter(|bytes| !bytes.is_empty()),
                    ..Said::default()
                };
                return (Some(said), why);
            }
            Err(error) => why.push(format!("reading {path}: {error}")),
        }
    }
    (None, why)
}

fn by_http(name: &str, left: Duration) -> Result<Said> {
    let seconds = left.as_secs().max(1).to_string();
    let out = bounded(FETCH, &["metadata", name, "--deadline", &seconds], left + GRACE)?;
    serde_json::from_slice(&out).with_context(|| format!("asking {name}: reading what {FETCH} says"))
}

/// `guestinfo.*`, as cloud-init's source of that name reads it: each value may be packed, as its `.encoding` says.
fn vmware(left: Duration) -> Result<Said> {
    let until = Instant::now() + left;
    let get = |key: &str| -> Result<Option<Vec<u8>>> {
        let left = until.saturating_duration_since(Instant::now()).min(RPC_LIMIT);
        match bounded(RPC, &[&format!("info-get guestinfo.{key}")], left) {
            Ok(bytes) => Ok(Some(bytes)),
            // What nobody set is a failure of the program, in these words.
            Err(why) if said(&why).contains("No value found") => Ok(None),
            Err(why) => Err(why),
        }
    };
    let value = |key: &str| -> Result<Option<Vec<u8>>> {
        let Some(bytes) = get(key)? else { return Ok(None) };
        let encoding = get(&format!("{key}.encoding"))?.unwrap_or_default();
        decoded(&bytes, String::from_utf8_lossy(&encoding).trim()).with_context(|| format!("reading guestinfo.{key}"))
    };
    let (metadata, user_data) = (value("metadata")?, value("userdata")?);
    if metadata.is_none() && user_data.is_none() {
        bail!("asking vmware: neither guestinfo.metadata nor guestinfo.userdata is set");
    }
    Ok(from_guestinfo(metadata.as_deref().unwrap_or_default(), user_data))
}

fn decoded(bytes: &[u8], encoding: &str) -> Result<Option<Vec<u8>>> {
    let text: String = String::from_utf8_lossy(bytes).split_whitespace().collect();
    let file = match encoding {
        "" => return Ok(Some(bytes.to_vec()).filter(|b| !b.is_empty())),
        "base64" | "b64" => return Ok(Some(Base64::decode_vec(&text).map_err(|e| anyhow::anyhow!("{e}"))?)),
        "gzip+base64" | "gz+b64" => skerry_config::WriteFile {
            encoding: "gz+b64".to_owned(),
            content: text,
            ..skerry_config::WriteFile::default()
        },
        other => bail!("it has the encoding {other:?}; base64 and gzip+base64 are known"),
    };
    file.decoded().map(Some).map_err(|why| anyhow::anyhow!(why))
}

/// The metadata is that of a seed: room config reads it.
fn from_guestinfo(metadata: &[u8], user_data: Option<Vec<u8>>) -> Said {
    let source = skerry_config::Source::new(skerry_config::SourceKind::SeedMetaData, "guestinfo.metadata", metadata);
    let config = skerry_config::load(&[source]).config;
    Said {
        source: "vmware".to_owned(),
        hostname: config.hostname,
        hostname_counts: true,
        keys: config.ssh_authorized_keys,
        user_data,
    }
}

/// Runs a program; what it prints, if it ends well and in time.
fn bounded(program: &str, words: &[&str], limit: Duration) -> Result<Vec<u8>> {
    let doing = || format!("running {program}");
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(doing)?;
    let (pid, out, err) = (child.id(), child.stdout.take(), child.stderr.take());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let read = |pipe: Option<Box<dyn Read>>| {
            let mut bytes = vec![];
            // What could not be read is as good as not said.
            let _ = pipe.map(|pipe| pipe.take(MOST).read_to_end(&mut bytes));
            bytes
        };
        let said = (
            read(out.map(|p| Box::new(p) as Box<dyn Read>)),
            read(err.map(|p| Box::new(p) as Box<dyn Read>)),
        );
        sender.send((said, child.wait()))
    });
    match receiver.recv_timeout(limit) {
        Ok(((out, _), Ok(status))) if status.success() => Ok(out),
        Ok(((_, err), _)) => bail!("{}", String::from_utf8_lossy(&err).trim()),
        Err(_) => {
            // It may have ended by itself just now.
            let _ = skerry_sys::process::kill(pid, 9);
            bail!("running {program}: it takes longer than {} s", limit.as_secs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn a_file_is_asked_last_and_what_failed_is_said() {
        let root = scratch("ask-file");
        root.write("/data/user", "hostname: x\n", 0o600).unwrap();
        let wanted = Wanted {
            files: vec!["/data/none".into(), "/data/user".into()],
            ..Wanted::default()
        };
        let (said, why) = ask(&root, &wanted);
        assert_eq!(said.unwrap().user_data.as_deref(), Some(&b"hostname: x\n"[..]));
        assert_eq!(why.len(), 1);
    }

    #[test]
    fn guestinfo_in_each_encoding() {
        let plain = |bytes: &[u8], encoding: &str| decoded(bytes, encoding).unwrap().unwrap();
        assert_eq!(plain(b"a: 1\n", ""), b"a: 1\n");
        assert_eq!(plain(b"YTogMQo=\n", "base64"), b"a: 1\n");
        assert!(decoded(b"x", "rot13").is_err() && decoded(b"!", "b64").is_err());
        let said = from_guestinfo(b"local-hostname: edge\npublic-keys: [ssh-rsa AAAAB3 me]\ninstance-id: i\n", None);
        assert_eq!((said.hostname.as_deref(), said.keys.len()), (Some("edge"), 1));
        assert_eq!(from_guestinfo(b"\xff{[", None).hostname, None);
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let start = Instant::now();
        let error = bounded("/bin/sleep", &["30"], Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("longer"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(bounded("/bin/echo", &["a"], Duration::from_secs(5)).unwrap(), b"a\n");
        assert!(bounded("/bin/false", &[], Duration::from_secs(5)).is_err());
    }
}
