//! What a plain YAML scalar stands for, by the rules of the reader k3OS had: YAML 1.1 as `yaml.v2` for Go understands it.
//!
//! `yes`, `n` and `off` are booleans, `0644` is octal, `1_000` is a number, `12:30` and `2021-01-01` are text.

use crate::tree::{Kind, Scalar};

/// Resolves a plain (unquoted, untagged) scalar.
pub(crate) fn resolve(text: &str) -> Scalar {
    Scalar {
        kind: kind(text),
        text: text.to_owned(),
    }
}

fn kind(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Kind::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Kind::Bool(false),
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) || text.len() > 64 {
        return Kind::Text;
    }
    let plain = text.replace('_', "");
    if !text.starts_with('.') {
        if let Some(value) = integer(&plain) {
            return Kind::Int(value);
        }
    }
    match float(&plain) {
        Some(value) => Kind::Float(value),
        None => Kind::Text,
    }
}

/// As Go's `ParseInt(text, 0, 64)` and `ParseUint`: `0x`, `0b`, `0o` and a leading `0` choose the base.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.strip_prefix('0')?)
    } else {
        (10, lower.as_str())
    };
    if !digits.starts_with(|first: char| first.is_ascii_hexdigit()) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, base).ok()?);
    Some(if negative { -value } else { value })
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, and finite.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let well_formed = digits(whole)
        && digits(part)
        && !(whole.is_empty() && part.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
    if !well_formed {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_stand_for_what_k3os_took_them_for() {
        for (text, expected) in [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("n", Kind::Bool(false)),
            ("On", Kind::Bool(true)),
            ("yEs", Kind::Text),
            ("0644", Kind::Int(420)),
            ("0o644", Kind::Int(420)),
            ("0x1F", Kind::Int(31)),
            ("0b11", Kind::Int(3)),
            ("1_000", Kind::Int(1000)),
            ("+5", Kind::Int(5)),
            ("-5", Kind::Int(-5)),
            ("0", Kind::Int(0)),
            ("0899", Kind::Float(899.0)),
            ("18446744073709551615", Kind::Int(18_446_744_073_709_551_615)),
            ("1.10", Kind::Float(1.1)),
            (".5", Kind::Float(0.5)),
            ("1e3", Kind::Float(1000.0)),
            ("1e999", Kind::Text),
            ("-", Kind::Text),
            (".", Kind::Text),
            ("1.2.3.4", Kind::Text),
            ("12:30", Kind::Text),
            ("2021-01-01", Kind::Text),
            ("0x", Kind::Text),
            ("--1", Kind::Text),
            ("server", Kind::Text),
        ] {
            assert_eq!(kind(text), expected, "{text:?}");
        }
    }

    #[test]
    fn map_values_are_converted_as_by_k3os() {
        for (text, expected) in [
            ("0644", "420"),
            ("yes", "true"),
            ("~", ""),
            ("1.10", "1.1"),
            ("262144", "262144"),
            ("1000000", "1000000"),
        ] {
            assert_eq!(resolve(text).converted(), expected);
        }
    }
}
