//! What can go wrong with the API, in words that say what to do; and how long to wait before the next attempt.

use crate::join::discovery::Doubt;
use std::error::Error;
use std::time::Duration;

/// Why it did not work this time. All of it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Not reached, or not able to answer now.
    #[error("{0}")]
    Away(String),
    /// Reached, and not believed.
    #[error(transparent)]
    Doubt(#[from] Doubt),
    /// Nothing can be verified at this time of the clock.
    #[error("{0}")]
    Clock(String),
    /// The token does not count.
    #[error("it refuses the token {id}: it has ended or was deleted; make a new one with `skerry token create` on a server")]
    Token {
        /// The token's public half.
        id: String,
    },
    /// The servers' agents said no, and why.
    #[error("{0}")]
    Denied(String),
    /// Anything else that the server said.
    #[error("it answers: {0}")]
    Refused(String),
    /// On this machine.
    #[error("{0:#}")]
    Here(anyhow::Error),
}

impl Trouble {
    /// What became of a request that bore the token `id`, or a certificate.
    pub fn of(error: kube::Error, id: Option<&str>) -> Self {
        match (error, id) {
            (kube::Error::Api(said), Some(id)) if said.code == 401 => Self::Token { id: id.to_owned() },
            (kube::Error::Api(said), _) if said.code == 429 || said.code >= 500 => Self::Away(said.message),
            (kube::Error::Api(said), _) => Self::Refused(said.message),
            (other, _) => Self::Away(innermost(&other)),
        }
    }

    /// Whether it is about the server's absence only: there may be another server.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    /// How long to wait before attempt number `attempt` (from 1), without [`spread`].
    pub fn pause(&self, attempt: u32) -> Duration {
        let (first, most) = match self {
            Self::Away(_) | Self::Here(_) => (1, 30),
            Self::Clock(_) => (5, 10),
            Self::Doubt(_) | Self::Token { .. } | Self::Refused(_) => (5, 60),
            // Each attempt leaves an object in the cluster for an hour.
            Self::Denied(_) => (15, 120),
        };
        Duration::from_secs((first << attempt.saturating_sub(1).min(10)).min(most))
    }
}

/// Up to a quarter more, so that nodes which lost their server at the same moment do not come back at the same moment.
pub fn spread(pause: Duration, node_name: &str, attempt: u32) -> Duration {
    // FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = node_name.bytes().chain(attempt.to_le_bytes()).fold(0x811c_9dc5, step);
    pause + pause.mul_f64(f64::from(hash % 256) / 1024.0)
}

/// The cause that caused the others: they only say where it happened.
pub fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::ErrorResponse;

    #[test]
    fn what_the_server_said() {
        let of = |code, id| {
            let said = ErrorResponse {
                status: "Failure".into(),
                message: "words".into(),
                reason: "Reason".into(),
                code,
            };
            Trouble::of(kube::Error::Api(said), id)
        };
        assert!(matches!(of(401, Some("abcdef")), Trouble::Token { id } if id == "abcdef"));
        assert!(matches!(of(401, None), Trouble::Refused(m) if m == "words"));
        assert!(matches!(of(403, Some("abcdef")), Trouble::Refused(_)));
        assert!(matches!(of(409, None), Trouble::Refused(_)));
        assert!(of(429, None).is_away() && of(500, None).is_away() && of(503, Some("a")).is_away());
    }

    #[test]
    fn it_waits_longer_each_time_and_never_gives_up() {
        let all = [
            Trouble::Away(String::new()),
            Trouble::Doubt(Doubt::NoAuthority),
            Trouble::Clock(String::new()),
            Trouble::Denied(String::new()),
        ];
        for trouble in all {
            let mut last = Duration::ZERO;
            for attempt in (1..40).chain([u32::MAX]) {
                let pause = trouble.pause(attempt);
                assert!(pause >= last && pause <= Duration::from_secs(120), "{trouble:?} {attempt}");
                let spread = spread(pause, "w1", attempt);
                assert!(spread >= pause && spread <= pause.mul_f64(1.25), "{spread:?}");
                last = pause;
            }
        }
        let pause = Duration::from_secs(100);
        assert_ne!(spread(pause, "w1", 1), spread(pause, "w2", 1));
    }
}
