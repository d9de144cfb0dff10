//! The table of clouds: whom to ask, and what. Each row's protocol is the cloud's own documentation.

use super::{Asker, Error, How, Metadata, USER_DATA_MAX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// One cloud.
#[derive(Debug, Clone, Copy)]
pub struct Cloud {
    /// Its name in `data_sources`.
    pub name: &'static str,
    /// Where it is asked.
    pub address: Ipv4Addr,
    /// What it calls itself.
    pub host: &'static str,
    /// The questions.
    pub says: fn(&Asker) -> Result<Metadata, Error>,
}

/// The address that nearly all have in common (link-local, RFC 3927).
const USUAL: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const USUAL_HOST: &str = "169.254.169.254";
/// Keys that are asked for one by one.
const MOST_SINGLE_KEYS: usize = 16;

const fn usual(name: &'static str, says: fn(&Asker) -> Result<Metadata, Error>) -> Cloud {
    Cloud {
        name,
        address: USUAL,
        host: USUAL_HOST,
        says,
    }
}

/// All of them.
pub const CLOUDS: [Cloud; 9] = [
    usual("aws", aws),
    Cloud {
        host: "metadata.google.internal",
        ..usual("gcp", gcp)
    },
    usual("azure", azure),
    usual("openstack", openstack),
    usual("digitalocean", digitalocean),
    usual("hetzner", hetzner),
    usual("vultr", vultr),
    Cloud {
        address: Ipv4Addr::new(169, 254, 42, 42),
        host: "169.254.42.42",
        ..usual("scaleway", scaleway)
    },
    // Reached by name over https; the address is not used.
    usual("packet", packet),
];

const NOTHING: How<'static> = How {
    put: false,
    headers: &[],
    is_privileged: false,
    max: None,
};

/// docs.aws.amazon.com, "Use the Instance Metadata Service": a token first (version 2); without one where the
/// server knows none (version 1).
fn aws(asker: &Asker) -> Result<Metadata, Error> {
    let lifetime = [("X-aws-ec2-metadata-token-ttl-seconds", "300")];
    let for_token = How {
        put: true,
        headers: &lifetime,
        ..NOTHING
    };
    let path = "/latest/api/token";
    let token = match asker.exchange(path, for_token)? {
        (200..300, token) => Some(String::from_utf8_lossy(&token).trim().to_owned()),
        (400 | 404 | 405 | 501, _) => None,
        (status, _) => return Err(Error::Status(asker.cloud.to_owned(), path.to_owned(), status)),
    };
    // A token with a line's end in it would be a header of the server's choice.
    let token = token.filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
    let headers: Vec<(&str, &str)> = token.iter().map(|token| ("X-aws-ec2-metadata-token", token.as_str())).collect();
    let how = How {
        headers: &headers,
        ..NOTHING
    };
    let hostname = asker.text("/latest/meta-data/local-hostname", how)?;
    // `0=name`, a line a key.
    let list = asker.text("/latest/meta-data/public-keys/", how)?;
    let mut keys = vec![];
    for number in list.lines().filter_map(|line| line.split('=').next()).take(MOST_SINGLE_KEYS) {
        if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
            keys.push(asker.text(&format!("/latest/meta-data/public-keys/{number}/openssh-key"), how)?);
        }
    }
    Ok(Metadata {
        hostname: Some(hostname),
        hostname_counts: true,
        keys,
        user_data: asker.user_data("/latest/user-data", how)?,
        ..Metadata::default()
    })
}

/// cloud.google.com, "About VM metadata": the header is demanded, and proves that no proxy was led astray.
fn gcp(asker: &Asker) -> Result<Metadata, Error> {
    let how = How {
        headers: &[("Metadata-Flavor", "Google")],
        ..NOTHING
    };
    let at = |path: &str| format!("/computeMetadata/v1/{path}");
    let hostname = asker.text(&at("instance/hostname"), how)?;
    let mut keys = asker.text(&at("instance/attributes/ssh-keys"), how)?;
    if !asker
        .text(&at("instance/attributes/block-project-ssh-keys"), how)?
        .trim()
        .eq_ignore_ascii_case("true")
    {
        keys = format!("{keys}\n{}", asker.text(&at("project/attributes/ssh-keys"), how)?);
    }
    // `user:ssh-rsa …`: the users' names are dropped, as by k3OS.
    let keys = keys
        .lines()
        .map(|line| match line.split_once(':') {
            Some((user, key)) if !user.contains(' ') => key.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    Ok(Metadata {
        hostname: Some(hostname),
        keys,
        user_data: asker.user_data(&at("instance/attributes/user-data"), how)?,
        ..Metadata::default()
    })
}

/// learn.microsoft.com, "Azure Instance Metadata Service". `userData`; the older custom data lies on a disk of its own.
fn azure(asker: &Asker) -> Result<Metadata, Error> {
    let how = How {
        headers: &[("Metadata", "true")],
        ..NOTHING
    };
    let max = Some(USER_DATA_MAX * 2);
    let path = "/metadata/instance?api-version=2021-02-01&format=json";
    let document = asker.json(path, How { max, ..how })?;
    let compute = document.get("compute").unwrap_or(&Value::Null);
    let user_data = match text(compute, &["userData"]) {
        Some(encoded) if !encoded.is_empty() => {
            let plain: String = encoded.split_whitespace().collect();
            Some(
                STANDARD
                    .decode(plain)
                    .map_err(|_| Error::Form(asker.cloud.to_owned(), "userData".to_owned()))?,
            )
        }
        _ => None,
    };
    Ok(Metadata {
        hostname: text(compute, &["osProfile", "computerName"]).or_else(|| text(compute, &["name"])),
        keys: texts(compute.get("publicKeys"), "keyData"),
        user_data,
        ..Metadata::default()
    })
}

/// docs.openstack.org, "Metadata": the native form.
fn openstack(asker: &Asker) -> Result<Metadata, Error> {
    let document = asker.json("/openstack/latest/meta_data.json", NOTHING)?;
    let keys = document.get("public_keys").and_then(Value::as_object);
    let keys = keys.into_iter().flat_map(|keys| keys.values()).filter_map(Value::as_str);
    Ok(Metadata {
        hostname: text(&document, &["hostname"]),
        hostname_counts: true,
        keys: keys.map(str::to_owned).collect(),
        user_data: asker.user_data("/openstack/latest/user_data", NOTHING)?,
        ..Metadata::default()
    })
}

/// docs.digitalocean.com, "Droplet Metadata".
fn digitalocean(asker: &Asker) -> Result<Metadata, Error> {
    Ok(Metadata {
        hostname: Some(required(asker, "/metadata/v1/hostname")?),
        keys: vec![asker.text("/metadata/v1/public-keys", NOTHING)?],
        user_data: asker.user_data("/metadata/v1/user-data", NOTHING)?,
        ..Metadata::default()
    })
}

/// docs.hetzner.cloud, "Server Metadata". The keys are a list in JSON.
fn hetzner(asker: &Asker) -> Result<Metadata, Error> {
    let keys = asker.text("/hetzner/v1/metadata/public-keys", NOTHING)?;
    let keys = serde_json::from_str::<Vec<String>>(&keys).unwrap_or_else(|_| vec![keys]);
    Ok(Metadata {
        hostname: Some(required(asker, "/hetzner/v1/metadata/hostname")?),
        keys,
        user_data: asker.user_data("/hetzner/v1/userdata", NOTHING)?,
        ..Metadata::default()
    })
}

/// vultr.com/metadata.
fn vultr(asker: &Asker) -> Result<Metadata, Error> {
    Ok(Metadata {
        hostname: Some(required(asker, "/v1/hostname")?),
        keys: vec![asker.text("/v1/public-keys", NOTHING)?],
        user_data: asker.user_data("/latest/user-data", NOTHING)?,
        ..Metadata::default()
    })
}

/// scaleway.com/en/docs, "Instance metadata": user data is given only to who asks from a port below 1024.
fn scaleway(asker: &Asker) -> Result<Metadata, Error> {
    let document = asker.json("/conf?format=json", NOTHING)?;
    let how = How {
        is_privileged: true,
        ..NOTHING
    };
    Ok(Metadata {
        hostname: text(&document, &["hostname"]),
        keys: texts(document.get("ssh_public_keys"), "key"),
        user_data: asker.user_data("/user_data/cloud-init", how)?,
        ..Metadata::default()
    })
}

/// deploy.equinix.com, "Metadata" (Packet, later Equinix Metal): the one that is asked by name, over https.
fn packet(asker: &Asker) -> Result<Metadata, Error> {
    const SERVER: &str = "https://metadata.platformequinix.com";
    let get = |path: &str, max: u64| -> Result<Vec<u8>, Error> {
        let left = asker.until.saturating_duration_since(Instant::now());
        let mut bytes = vec![];
        let request = crate::get::Request {
            max,
            patience: left.min(Duration::from_secs(3)),
            ..crate::get::Request::new(crate::source::Source::Http(format!("{SERVER}{path}")))
        };
        crate::get::get(&request, &mut bytes)?;
        Ok(bytes)
    };
    let document = equinix(&get("/metadata", 1 << 20)?).ok_or_else(|| Error::Form(asker.cloud.to_owned(), "/metadata".to_owned()))?;
    let user_data = match get("/userdata", USER_DATA_MAX as u64) {
        Ok(bytes) => Some(bytes),
        Err(Error::Get(crate::get::Error::Status(_, status))) if status.as_u16() == 404 => None,
        Err(error) => return Err(error),
    };
    Ok(Metadata { user_data, ..document })
}

fn equinix(bytes: &[u8]) -> Option<Metadata> {
    let document: Value = serde_json::from_slice(bytes).ok()?;
    let keys = document.get("ssh_keys").and_then(Value::as_array);
    let keys = keys.into_iter().flatten().filter_map(Value::as_str);
    Some(Metadata {
        hostname: text(&document, &["hostname"]),
        keys: keys.map(str::to_owned).collect(),
        ..Metadata::default()
    })
}

/// What must be there, or this is another cloud's server.
fn required(asker: &Asker, path: &str) -> Result<String, Error> {
    let bytes = asker.maybe(path, NOTHING)?;
    let bytes = bytes.ok_or_else(|| Error::Status(asker.cloud.to_owned(), path.to_owned(), 404))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn text(value: &Value, path: &[&str]) -> Option<String> {
    let found = path.iter().try_fold(value, |value, key| value.get(key))?;
    found.as_str().map(str::to_owned)
}

/// One field of each item of a list.
fn texts(list: Option<&Value>, key: &str) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.get(key)?.as_str()).map(str::to_owned).collect()
}

#[cfg(test)]
#[path = "clouds_tests.rs"]
mod tests;
