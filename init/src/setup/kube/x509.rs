//! Certificates, read. The only file that knows X.509.

use skerry_distribution::kubernetes::certs::Certificate;
use std::net::IpAddr;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The first certificate of a PEM text, seen with the authority that should have signed it; none if there is none.
pub fn read(pem: &[u8], authority: Option<&[u8]>) -> Option<Certificate> {
    with(pem, |c| {
        let validity = c.validity();
        Some(Certificate {
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            names: names(c),
            subject: c
                .subject()
                .iter_common_name()
                .next()
                .and_then(|n| n.as_str().ok())
                .unwrap_or_default()
                .to_owned(),
            ours: authority.is_none_or(|pem| with(pem, |a| Some(is_signer(a, c))).unwrap_or(false)),
        })
    })
}

fn with<T>(pem: &[u8], then: impl FnOnce(&X509Certificate) -> Option<T>) -> Option<T> {
    let (_, pem) = parse_x509_pem(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    then(&certificate)
}

/// By key id, where both have one; else by name. Whoever can put files there can sign too: this tells apart, it does not verify.
fn is_signer(authority: &X509Certificate, certificate: &X509Certificate) -> bool {
    let own = authority.iter_extensions().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    let named = certificate.iter_extensions().find_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|k| k.0),
        _ => None,
    });
    let by_name = authority.subject() == certificate.issuer();
    by_name && own.zip(named).is_none_or(|(a, b)| a == b)
}

fn names(certificate: &X509Certificate) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return vec![];
    };
    let name = |n: &GeneralName| match n {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|a| a.to_string()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by tests/certificates/make.sh.
    const CA: &[u8] = include_bytes!("../../../tests/certificates/ca.crt");
    const OTHER: &[u8] = include_bytes!("../../../tests/certificates/other-ca.crt");
    const LEAF: &[u8] = include_bytes!("../../../tests/certificates/leaf.crt");

    #[test]
    fn what_matters_of_a_certificate() {
        let leaf = read(LEAF, Some(CA)).unwrap();
        assert_eq!(leaf.names, ["skerry-1", "10.0.2.15", "fd00::1"]);
        assert_eq!((leaf.subject.as_str(), leaf.ours), ("system:node:skerry-1", true));
        assert_eq!(leaf.not_after - leaf.not_before, 365 * 86_400);
        assert!(
            !read(LEAF, Some(OTHER)).unwrap().ours,
            "an authority of the same name is another one"
        );
        assert!(!read(LEAF, Some(b"")).unwrap().ours);
    }

    #[test]
    fn what_is_torn_is_none() {
        for end in [0, 1, 40, LEAF.len() / 2, LEAF.len() - 30] {
            assert!(read(LEAF.get(..end).unwrap(), None).is_none(), "{end}");
        }
    }
}
