//! The kubeconfig of a node, in the shape that kubeadm writes: one `key: value` a line.

use crate::issue::Credentials;
use skerry_distribution::kubernetes::base64;
use skerry_distribution::kubernetes::paths::LOCAL_API;

/// Text of `kubelet.conf`.
pub fn of_node(node_name: &str, ca: &[u8], credentials: &Credentials) -> String {
    let user = format!("system:node:{node_name}");
    format!(
        "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {}
    server: {LOCAL_API}
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: {user}
  name: {user}@kubernetes
current-context: {user}@kubernetes
kind: Config
users:
- name: {user}
  user:
    client-certificate-data: {}
    client-key-data: {}
",
        base64::encode(ca),
        base64::encode(credentials.certificate.as_bytes()),
        base64::encode(credentials.key.as_bytes()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_distribution::kubernetes::kubeconfig;

    #[test]
    fn what_goes_in_comes_out() {
        let credentials = Credentials {
            certificate: "certificate\n".into(),
            key: "key\n".into(),
        };
        let text = of_node("w1", b"authority\n", &credentials);
        assert_eq!(kubeconfig::authority(&text).unwrap(), b"authority\n");
        assert_eq!(kubeconfig::client_certificate(&text).unwrap(), b"certificate\n");
        assert_eq!(kubeconfig::identity(&text).unwrap(), b"certificate\nkey\n");
        assert_eq!(kubeconfig::at_local_api(&text), None);
        assert!(text.contains("\n  name: system:node:w1@kubernetes\n"));
    }
}
