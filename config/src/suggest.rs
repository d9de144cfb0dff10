//! "Did you mean": the known spelling nearest to an unknown one.

/// The nearest of the candidates, if it is near enough to be meant.
pub(crate) fn nearest<'a>(unknown: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let sought = plain(unknown.get(..64).unwrap_or(unknown));
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&sought, &plain(candidate)), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= candidate.len().min(sought.len()).div_ceil(4))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_spellings_are_suggested_and_far_ones_are_not() {
        let known = ["ssh_authorized_keys", "encoding", "hostname", "password", "token"];
        for (unknown, expected) in [
            ("SSH_AUTHORIZED_KEYS", Some("ssh_authorized_keys")),
            ("enconding", Some("encoding")),
            ("host-name", Some("hostname")),
            ("tokne", Some("token")),
            ("packages", None),
            ("x", None),
        ] {
            assert_eq!(nearest(unknown, known.into_iter()), expected, "{unknown}");
        }
    }
}
