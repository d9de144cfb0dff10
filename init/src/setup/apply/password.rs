//! Passwords as crypt(3) has them.

use anyhow::{Result, bail};

/// The hash of what the owner wrote: a hash is taken as it is, plain text is hashed (SHA-512, 5000 rounds) with `salt`.
pub fn hash(password: &str, salt: &str) -> Result<String> {
    if password.starts_with('$') {
        if password.contains([':', '\n']) || password.chars().any(char::is_whitespace) {
            bail!("reading password: it begins with `$`, but is no crypt(3) hash; make one with `openssl passwd -6`");
        }
        return Ok(password.to_owned());
    }
    let rounds = sha_crypt::Sha512Params::new(sha_crypt::ROUNDS_DEFAULT);
    let digest = rounds.and_then(|r| sha_crypt::sha512_crypt_b64(password.as_bytes(), salt.as_bytes(), &r));
    match digest {
        Ok(digest) => Ok(format!("$6${salt}${digest}")),
        Err(why) => bail!("hashing password: {why:?}"),
    }
}

/// Sixteen letters and digits from random bytes.
pub fn salt(random: &[u8; 16]) -> String {
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    random
        .iter()
        .filter_map(|b| LETTERS.get(usize::from(b & 63)))
        .map(|&b| char::from(b))
        .collect()
}

/// A password that a person can read off a screen: three groups of four, no letters that look alike.
pub fn readable(random: &[u8; 16]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz234567892";
    let letters: Vec<char> = random
        .iter()
        .take(12)
        .filter_map(|b| LETTERS.get(usize::from(b & 31)))
        .map(|&b| char::from(b))
        .collect();
    letters
        .chunks(4)
        .map(|c| c.iter().collect::<String>())
        .collect::<Vec<_>>()
        .join("-")
}

/// Sixteen random bytes.
pub fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `openssl passwd -6 -salt saltstring` makes it.
    #[test]
    fn known_hashes() {
        assert_eq!(
            hash("Hello world!", "saltstring").unwrap(),
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        );
        assert_eq!(hash("$6$a$b", "x").unwrap(), "$6$a$b");
        assert!(hash("$6$a:b", "x").is_err());
        assert!(hash("$ 5", "x").is_err());
    }

    #[test]
    fn random_words() {
        assert_eq!(salt(&[0, 1, 2, 63, 64, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "./0z.z..........");
        assert_eq!(readable(&[0; 16]), "aaaa-aaaa-aaaa");
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
