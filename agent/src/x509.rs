//! Certificates and requests for them, read. Whoever wrote them is a stranger: nothing here panics, and lengths are checked first.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use sha2::{Digest, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// Larger is no certificate and no request of ours, bytes.
const LARGEST: usize = 64 << 10;

/// What matters of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// Common name of its subject.
    pub common_name: String,
    /// Of its public key, as [`fingerprint`].
    pub key: String,
}

/// SHA-256 of a `SubjectPublicKeyInfo` (RFC 5280 §4.1), in hex.
pub fn fingerprint(spki: &[u8]) -> String {
    hex(&Sha256::digest(spki))
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .collect()
}

/// The first certificate of a PEM text.
pub fn certificate(pem: &[u8]) -> Option<Certificate> {
    with(pem, |c| {
        Some(Certificate {
            not_before: c.validity().not_before.timestamp(),
            not_after: c.validity().not_after.timestamp(),
            common_name: only(c.subject().iter_common_name())?,
            key: fingerprint(c.public_key().raw),
        })
    })
}

/// Whether the first certificate of one PEM text was signed by that of another: checks the signature.
pub fn is_signed_by(pem: &[u8], authority: &[u8]) -> bool {
    let verified = with(pem, |c| {
        with(authority, |a| {
            is_signed(
                a.public_key(),
                &c.signature_algorithm,
                c.tbs_certificate.as_ref(),
                &c.signature_value.data,
            )
            .then_some(())
        })
    });
    verified.is_some()
}

/// Whether a signature is good. ECDSA with P-256 or P-384, and RSA with SHA-256: what kubeadm, kubelet and we make.
fn is_signed(key: &SubjectPublicKeyInfo, algorithm: &AlgorithmIdentifier, signed: &[u8], signature: &[u8]) -> bool {
    // By the OIDs of RFC 5758 §3.2 and RFC 8017, and the length of a point on the curve.
    let point = &key.subject_public_key.data;
    let is_ec = key.algorithm.algorithm.to_id_string() == "1.2.840.10045.2.1";
    let algorithm: &dyn VerificationAlgorithm = match (algorithm.algorithm.to_id_string().as_str(), is_ec, point.len()) {
        ("1.2.840.10045.4.3.2", true, 65) => &signature::ECDSA_P256_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", true, 65) => &signature::ECDSA_P256_SHA384_ASN1,
        ("1.2.840.10045.4.3.2", true, 97) => &signature::ECDSA_P384_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", true, 97) => &signature::ECDSA_P384_SHA384_ASN1,
        ("1.2.840.113549.1.1.11", false, _) => &signature::RSA_PKCS1_2048_8192_SHA256,
        _ => return false,
    };
    UnparsedPublicKey::new(algorithm, point).verify(signed, signature).is_ok()
}

/// The first certificate of a PEM text, as DER.
pub fn der(pem: &[u8]) -> Option<Vec<u8>> {
    let (_, block) = parse_x509_pem(pem.get(..pem.len().min(LARGEST))?).ok()?;
    (block.label == "CERTIFICATE").then_some(block.contents)
}

fn with<T>(pem: &[u8], then: impl FnOnce(&X509Certificate) -> Option<T>) -> Option<T> {
    let der = der(pem)?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    then(&certificate)
}

/// A request for a certificate: PKCS #10, RFC 2986.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Common name of the subject.
    pub common_name: String,
    /// Organisations of the subject: Kubernetes' groups.
    pub organisations: Vec<String>,
    /// Whether the subject holds anything else, or a name more than once.
    pub has_more_names: bool,
    /// Whether it asks for alternative names (host names, addresses), or to be an authority.
    pub has_more_wishes: bool,
    /// Of the key, as [`fingerprint`].
    pub key: String,
}

/// Reads a request whose own signature is good: whoever made it holds the key. None for all else.
pub fn request(pem: &[u8]) -> Option<Request> {
    let (_, block) = parse_x509_pem(pem.get(..pem.len().min(LARGEST))?).ok()?;
    if block.label != "CERTIFICATE REQUEST" && block.label != "NEW CERTIFICATE REQUEST" {
        return None;
    }
    let (rest, request) = X509CertificationRequest::from_der(&block.contents).ok()?;
    let info = &request.certification_request_info;
    if !is_signed(
        &info.subject_pki,
        &request.signature_algorithm,
        info.raw,
        &request.signature_value.data,
    ) {
        return None;
    }
    let subject = &info.subject;
    let organisations: Vec<String> = subject
        .iter_organization()
        .map(|o| o.as_str().map(str::to_owned).ok())
        .collect::<Option<_>>()?;
    Some(Request {
        common_name: only(subject.iter_common_name())?,
        has_more_names: names(subject) != 1 + organisations.len(),
        organisations,
        has_more_wishes: !rest.is_empty() || wishes_more(&request),
        key: fingerprint(info.subject_pki.raw),
    })
}

fn names(subject: &X509Name) -> usize {
    subject.iter_attributes().count()
}

/// Key usages are asked for in the object that carries the request; anything but those is more than a client needs.
fn wishes_more(request: &X509CertificationRequest) -> bool {
    let usages = |e: &ParsedExtension| matches!(e, ParsedExtension::KeyUsage(_) | ParsedExtension::ExtendedKeyUsage(_));
    request.requested_extensions().is_some_and(|mut all| !all.all(usages))
}

fn only<'a>(mut names: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>) -> Option<String> {
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn hexadecimal() {
        assert_eq!(hex(&[0, 0x0f, 0xa0, 0xff]), "000fa0ff");
    }

    #[test]
    fn a_request_and_its_signature() {
        let identity = Identity::generate().unwrap();
        let pem = identity.request("w1").unwrap();
        let read = request(pem.as_bytes()).unwrap();
        assert_eq!(read.common_name, "system:node:w1");
        assert_eq!(read.organisations, ["system:nodes"]);
        assert!(!read.has_more_names && !read.has_more_wishes);
        assert_eq!(read.key, identity.fingerprint());
    }

    /// Each byte of a request, turned: it is refused, or (where the byte is outside of what is signed) says the same.
    #[test]
    fn a_changed_request_says_nothing_else() {
        let pem = Identity::generate().unwrap().request("w1").unwrap();
        let (_, block) = parse_x509_pem(pem.as_bytes()).unwrap();
        for at in 0..block.contents.len() {
            let mut der = block.contents.clone();
            der[at] ^= 1;
            let text = skerry_distribution::kubernetes::base64::encode(&der);
            let changed = format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n");
            let read = request(changed.as_bytes());
            assert!(read.is_none() || read == request(pem.as_bytes()), "byte {at}: {read:?}");
        }
        // The last line counts from its first word.
        for end in 0..pem.find("-----END").unwrap() {
            assert_eq!(request(&pem.as_bytes()[..end]), None, "cut at {end}");
        }
    }
}
