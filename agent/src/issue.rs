//! Certificates that a server signs for its own agent, with the authority's key.

use crate::x509;
use anyhow::{Context, Result, bail};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
};
use skerry_distribution::kubernetes::add_ons::{METRICS_NAME, METRICS_USER};
use std::time::Duration;
use x509_parser::asn1_rs::Tag;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whom the API server sees in the servers' agents.
pub const USER: &str = "skerry:server-agent";
/// What it lets do them what they do.
pub const GROUP: &str = "skerry:server-agents";
/// How long a certificate of theirs is good. They make a new one at half of it.
pub const LIFE: Duration = Duration::from_secs(365 * 86_400);

/// A certificate and its key, PEM each.
#[derive(Clone)]
pub struct Credentials {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// The servers' agents' own credentials, `now` in seconds since 1970. They are never written to a disk.
pub fn server_agent(ca: &str, ca_key: &str, now: i64) -> Result<Credentials> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, GROUP);
    parameters.distinguished_name.push(DnType::CommonName, USER);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    signed(ca, ca_key, now, parameters).context("signing the servers' agent's certificate")
}

/// metrics-server's: by it the API server knows it, and it the API server. In memory only, too.
pub fn metrics_server(ca: &str, ca_key: &str, now: i64) -> Result<Credentials> {
    let mut parameters = CertificateParams::new(vec![METRICS_NAME.to_owned()])?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, METRICS_USER);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    signed(ca, ca_key, now, parameters).context("signing metrics-server's certificate")
}

fn signed(ca: &str, ca_key: &str, now: i64, mut parameters: CertificateParams) -> Result<Credentials> {
    let authority = x509::certificate(ca.as_bytes()).context("reading the cluster's authority: no certificate in it")?;
    let issuer = issuer(ca, ca_key)?;
    let key = KeyPair::generate().context("making a key")?;
    let end = now.saturating_add(i64::try_from(LIFE.as_secs())?).min(authority.not_after);
    parameters.not_before = date(authority.not_before.max(now - 3600));
    parameters.not_after = date(end);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.use_authority_key_identifier_extension = true;
    let certificate = parameters.signed_by(&key, &issuer)?;
    Ok(Credentials {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// The cluster's authority, able to sign. PEM both.
pub fn issuer(ca: &str, ca_key: &str) -> Result<Issuer<'static, KeyPair>> {
    let doing = "reading the cluster's authority";
    let key = KeyPair::try_from(pkcs8(ca_key)?.as_slice()).context("reading the authority's key")?;
    let der = x509::der(ca.as_bytes()).context(doing)?;
    let (_, read) = X509Certificate::from_der(&der).ok().context(doing)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    for name in read.subject().iter_attributes() {
        let oid: Vec<u64> = name.attr_type().iter().context(doing)?.collect();
        let text = name.as_str().ok().context(doing)?;
        // In the same encoding: a signature's issuer is compared byte for byte.
        let value = match name.attr_value().tag() {
            Tag::PrintableString => DnValue::PrintableString(text.try_into().ok().context(doing)?),
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            other => bail!("{doing}: names of type {other} are not supported"),
        };
        parameters.distinguished_name.push(DnType::from_oid(&oid), value);
    }
    let id = read.iter_extensions().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    if let Some(id) = id {
        parameters.key_identifier_method = KeyIdMethod::PreSpecified(id);
    }
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(Issuer::new(parameters, key))
}

/// A date in a certificate, from seconds since 1970.
pub fn date(seconds: i64) -> time::OffsetDateTime {
    rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// A key as PKCS#8 (RFC 5958). kubeadm writes SEC 1 (RFC 5915) and PKCS#1 (RFC 8017), which PKCS#8 wraps.
fn pkcs8(pem: &str) -> Result<Vec<u8>> {
    // OBJECT IDENTIFIER id-ecPublicKey, then that of the curve; and rsaEncryption with NULL.
    const EC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
    const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let (_, block) = parse_x509_pem(pem.as_bytes())
        .ok()
        .context("reading the authority's key: it is no PEM")?;
    let holds = |curve: &[u8]| block.contents.windows(curve.len()).any(|w| w == curve);
    let algorithm = match block.label.as_str() {
        "PRIVATE KEY" => return Ok(block.contents),
        "RSA PRIVATE KEY" => RSA.to_vec(),
        "EC PRIVATE KEY" if holds(P256) => [EC, P256].concat(),
        "EC PRIVATE KEY" if holds(P384) => [EC, P384].concat(),
        other => bail!("reading the authority's key: {other:?} is not supported; ECDSA P-256, P-384 and RSA are"),
    };
    let body = [vec![0x02, 0x01, 0x00], element(0x30, &algorithm), element(0x04, &block.contents)];
    Ok(element(0x30, &body.concat()))
}

/// One element of DER: tag, length, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|b| *b == 0).collect();
    let mut out = vec![tag];
    match significant.as_slice() {
        [] => out.push(0),
        [short @ 0..=0x7f] => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(0x7f));
            out.extend(long);
        }
    }
    out.extend(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by tests/authority/make.sh.
    const EC: [&str; 2] = [include_str!("../tests/authority/ec.crt"), include_str!("../tests/authority/ec.key")];
    const RSA: [&str; 2] = [
        include_str!("../tests/authority/rsa.crt"),
        include_str!("../tests/authority/rsa.key"),
    ];

    #[test]
    fn signed_by_either_kind_of_key() {
        for [ca, key] in [EC, RSA] {
            let authority = x509::certificate(ca.as_bytes()).unwrap();
            let now = authority.not_before + 86_400;
            let made = server_agent(ca, key, now).unwrap();
            let read = x509::certificate(made.certificate.as_bytes()).unwrap();
            assert!(x509::is_signed_by(made.certificate.as_bytes(), ca.as_bytes()));
            assert_eq!(read.common_name, USER);
            assert_eq!((read.not_before, read.not_after), (now - 3600, now + 365 * 86_400));
            // Never outside of the authority's own life.
            let early = x509::certificate(server_agent(ca, key, 0).unwrap().certificate.as_bytes()).unwrap();
            assert_eq!(early.not_before, authority.not_before);
            let late = server_agent(ca, key, authority.not_after - 10).unwrap();
            assert_eq!(
                x509::certificate(late.certificate.as_bytes()).unwrap().not_after,
                authority.not_after
            );
        }
    }

    #[test]
    fn metrics_server_is_named() {
        let now = x509::certificate(EC[0].as_bytes()).unwrap().not_before;
        let made = metrics_server(EC[0], EC[1], now).unwrap();
        assert!(x509::is_signed_by(made.certificate.as_bytes(), EC[0].as_bytes()));
        assert_eq!(x509::certificate(made.certificate.as_bytes()).unwrap().common_name, METRICS_USER);
    }

    #[test]
    fn another_authority_did_not_sign_it() {
        let now = x509::certificate(EC[0].as_bytes()).unwrap().not_before;
        let made = server_agent(EC[0], RSA[1], now).unwrap();
        assert!(!x509::is_signed_by(made.certificate.as_bytes(), EC[0].as_bytes()));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let end = EC[1].len() / 2;
        for key in ["", "x", EC[0], &EC[1][..end]] {
            assert!(server_agent(EC[0], key, 0).is_err(), "{key:?}");
        }
        assert!(server_agent("", EC[1], 0).is_err());
    }

    #[test]
    fn lengths() {
        assert_eq!(element(4, &[]), [4, 0]);
        assert_eq!(element(4, &[7; 127])[..3], [4, 127, 7]);
        assert_eq!(element(4, &[7; 128])[..4], [4, 0x81, 128, 7]);
        assert_eq!(element(4, &[7; 300])[..5], [4, 0x82, 1, 44, 7]);
    }
}
