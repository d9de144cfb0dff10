//! Sizes as owners write them.

/// `64G`: powers of 1000, as disks are sold; `64GiB`, in Kubernetes' words `64Gi`, powers of 1024.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit.trim_start() {
        "" => 1,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        "Ti" | "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("64G", Some(64_000_000_000)),
            ("2GiB", Some(2 << 30)),
            ("2 GiB", Some(2 << 30)),
            ("1Gi", Some(1 << 30)),
            ("512MiB", Some(512 << 20)),
            ("3TB", Some(3_000_000_000_000)),
            ("", None),
            ("G", None),
            ("2K", None),
            ("-1G", None),
            ("1.5G", None),
            ("99999999TiB", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}
