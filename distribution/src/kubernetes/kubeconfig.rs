//! kubeadm's kubeconfigs: what has to be read from them and changed in them.
//!
//! kubeadm writes them as YAML of one fixed shape, a `key: value` on each line, so that lines are enough.

use super::paths::LOCAL_API;

/// The client certificate inside, as PEM.
pub fn client_certificate(text: &str) -> Option<Vec<u8>> {
    field(text, "client-certificate-data:")
}

/// The client certificate and its key, as one PEM text.
pub fn identity(text: &str) -> Option<Vec<u8>> {
    let mut pem = client_certificate(text)?;
    pem.extend(field(text, "client-key-data:")?);
    Some(pem)
}

/// The authority that it trusts, as PEM.
pub fn authority(text: &str) -> Option<Vec<u8>> {
    field(text, "certificate-authority-data:")
}

fn field(text: &str, key: &str) -> Option<Vec<u8>> {
    let value = text
        .lines()
        .find_map(|l| l.trim_start().trim_start_matches("- ").strip_prefix(key))?;
    super::base64::decode(value.trim().trim_matches('"'))
}

/// The same kubeconfig, for use on this machine; none if it is so already.
pub fn at_local_api(text: &str) -> Option<String> {
    let mut changed = false;
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        match line.trim_start().strip_prefix("server:") {
            Some(url) if url.trim() != LOCAL_API => {
                changed = true;
                out.push_str(line.get(..indent).unwrap_or_default());
                out.push_str("server: ");
                out.push_str(LOCAL_API);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    changed.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: Zm9v\n    server: https://10.0.2.15:6443\n  name: kubernetes\n\
                        kind: Config\nusers:\n- name: x\n  user:\n    client-certificate-data: Zm9vYmFy\n    client-key-data: AA==\n";

    #[test]
    fn what_is_inside() {
        assert_eq!(client_certificate(CONF).as_deref(), Some(b"foobar".as_slice()));
        assert_eq!(authority(CONF).as_deref(), Some(b"foo".as_slice()));
        assert_eq!(client_certificate("kind: Config\n"), None);
        assert_eq!(client_certificate("client-certificate-data: ***\n"), None);
    }

    #[test]
    fn local_once() {
        let local = at_local_api(CONF).unwrap();
        assert_eq!(local, CONF.replace("10.0.2.15", "127.0.0.1"));
        assert_eq!(at_local_api(&local), None);
    }
}
