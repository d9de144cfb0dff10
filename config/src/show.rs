//! What may be shown: a configuration with its secrets blanked.

use crate::{Config, Secret};

/// What stands in a secret's place.
pub const HIDDEN: &str = "***";

/// Flags of k3s whose value is a secret.
const SECRET_FLAGS: [&str; 5] = ["--token", "--agent-token", "--datastore-endpoint", "--etcd-s3-secret-key", "-t"];

/// Whether a variable's name says that its value is a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["TOKEN", "PASSWORD", "PASSWD", "SECRET", "PRIVATE_KEY"]
        .iter()
        .any(|word| name.contains(word))
}

/// Which words of a command are, or hold, secrets.
pub(crate) fn secret_words<'a>(words: impl Iterator<Item = &'a str>) -> Vec<bool> {
    let mut value_follows = false;
    words
        .map(|word| {
            let is_value = std::mem::replace(&mut value_follows, SECRET_FLAGS.contains(&word));
            is_value || word.split_once('=').is_some_and(|(flag, _)| SECRET_FLAGS.contains(&flag))
        })
        .collect()
}

impl Config {
    /// The configuration with passwords, tokens and passphrases blanked, for showing.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut config = self.clone();
        let blank = |secret: &mut Option<Secret<String>>| {
            if let Some(Secret(text)) = secret {
                HIDDEN.clone_into(text);
            }
        };
        let skerry = &mut config.skerry;
        blank(&mut skerry.password);
        blank(&mut skerry.token);
        for wifi in skerry.wifi.iter_mut().filter(|wifi| !wifi.passphrase.0.is_empty()) {
            HIDDEN.clone_into(&mut wifi.passphrase.0);
        }
        for (name, value) in &mut skerry.environment {
            if is_secret_name(name) {
                HIDDEN.clone_into(value);
            }
        }
        let secret = secret_words(skerry.k3s_args.iter().map(String::as_str));
        for (argument, _) in skerry.k3s_args.iter_mut().zip(secret).filter(|(_, secret)| *secret) {
            *argument = match argument.split_once('=') {
                Some((flag, _)) if flag.starts_with('-') => format!("{flag}={HIDDEN}"),
                _ => HIDDEN.to_owned(),
            };
        }
        config.users.iter_mut().for_each(|user| blank(&mut user.password));
        if let Some(network) = &mut config.network {
            for interface in network.wifis.values_mut() {
                interface.access_points.values_mut().for_each(|point| blank(&mut point.password));
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blanked_wherever_they_stand() {
        let mut config = Config::default();
        config.skerry.token = Some(Secret("hush".into()));
        config.skerry.k3s_args = ["server", "--token", "hush", "--agent-token=hush", "--tls-san=x"]
            .map(str::to_owned)
            .to_vec();
        config.skerry.environment.insert("K3S_TOKEN".into(), "hush".into());
        config.skerry.environment.insert("HTTP_PROXY".into(), "http://p".into());
        let shown = serde_json::to_string(&config.without_secrets()).unwrap();
        assert!(!shown.contains("hush"), "{shown}");
        assert!(
            shown.contains("--agent-token=***") && shown.contains("http://p") && shown.contains("--tls-san=x"),
            "{shown}"
        );
    }
}
