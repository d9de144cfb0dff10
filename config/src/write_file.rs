//! The bytes behind a `write_files` entry, and its mode.

use crate::WriteFile;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::io::Read;

/// The most that one entry may decode to.
pub const DECODED_MAX: usize = 8 << 20;

/// Base64 with or without its padding.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl WriteFile {
    /// The bytes to write; the error says what is wrong with the content.
    pub fn decoded(&self) -> Result<Vec<u8>, String> {
        match self.encoding.as_str() {
            "" => Ok(self.content.clone().into_bytes()),
            "b64" | "base64" => base64(&self.content),
            "gz" | "gzip" => gunzip(self.content.as_bytes()),
            "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => gunzip(&base64(&self.content)?),
            other => Err(format!(
                "the encoding `{other}` is none of b64, base64, gz, gzip, gz+b64, gz+base64, gzip+b64, gzip+base64"
            )),
        }
    }

    /// The mode to give the file: 0644 where none was asked for.
    pub fn mode(&self) -> u32 {
        parse_mode(&self.permissions).unwrap_or(0o644)
    }
}

/// An octal mode: `0755`, `755`, `0o755`.
pub(crate) fn parse_mode(text: &str) -> Option<u32> {
    let digits = text.trim();
    let digits = digits.strip_prefix("0o").unwrap_or(digits);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    u32::from_str_radix(digits, 8).ok().filter(|&mode| mode <= 0o7777)
}

fn base64(text: &str) -> Result<Vec<u8>, String> {
    let compact: String = text.split_whitespace().collect();
    BASE64
        .decode(compact)
        .map_err(|error| format!("the content is not base64: {error}"))
}

pub(crate) fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut decoded = Vec::new();
    let limit = u64::try_from(DECODED_MAX).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::MultiGzDecoder::new(bytes)
        .take(limit)
        .read_to_end(&mut decoded)
        .map_err(|error| format!("the content is not gzip: {error}"))?;
    if decoded.len() > DECODED_MAX {
        return Err(format!("the content unpacks to more than {} MiB", DECODED_MAX >> 20));
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn file(encoding: &str, content: &str) -> WriteFile {
        WriteFile {
            encoding: encoding.to_owned(),
            content: content.to_owned(),
            ..WriteFile::default()
        }
    }

    #[test]
    fn contents_decode_in_each_encoding() {
        assert_eq!(file("", "hello").decoded().unwrap(), b"hello");
        assert_eq!(file("b64", "aGVs\nbG8=").decoded().unwrap(), b"hello");
        assert_eq!(file("base64", "aGVsbG8").decoded().unwrap(), b"hello");
        for encoding in ["gz+b64", "gz+base64", "gzip+b64", "gzip+base64"] {
            assert_eq!(file(encoding, &BASE64.encode(gzip(b"hello"))).decoded().unwrap(), b"hello");
        }
    }

    #[test]
    fn contents_that_do_not_decode_say_why() {
        assert!(file("rot13", "x").decoded().unwrap_err().contains("rot13"));
        assert!(file("b64", "***").decoded().unwrap_err().contains("base64"));
        assert!(file("gz", "hello").decoded().unwrap_err().contains("gzip"));
        let bomb = BASE64.encode(gzip(&vec![0; DECODED_MAX + 1]));
        assert!(file("gz+b64", &bomb).decoded().unwrap_err().contains("8 MiB"));
    }

    #[test]
    fn modes_are_octal() {
        for (text, expected) in [
            ("0755", Some(0o755)),
            ("600", Some(0o600)),
            ("0o644", Some(0o644)),
            ("rw", None),
            ("99999", None),
            ("", None),
        ] {
            assert_eq!(parse_mode(text), expected, "{text}");
        }
    }
}
