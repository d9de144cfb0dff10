//! `logind`: kubelet's way to hear of a shutdown.

use skerry_logind::serve::{self, Options};
use skerry_sys::log;
use skerry_sys::notify::Notify;
use std::process::ExitCode;
use std::time::Duration;

const HELP: &str = "usage: logind [--socket PATH] [--bus] [--limit SECONDS]

Answers org.freedesktop.login1, as far as kubelet's graceful node shutdown uses it.
  --socket PATH     where the system bus is looked for    [/run/dbus/system_bus_socket]
  --bus             join the bus that is there, instead of being it
  --limit SECONDS   nobody is waited for longer           [60]
SIGUSR1: the machine goes down; end once all who asked for it are ready. SIGTERM: end.
";

fn main() -> ExitCode {
    log::begin("LOGIND_DEBUG", &["skerry_logind", "logind"]);
    let Some(options) = options(std::env::args().skip(1)) else {
        return misuse();
    };
    let notify = Notify::new(std::env::var_os("NOTIFY_SOCKET").as_deref());
    match serve::run(&options, &notify) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        socket: "/run/dbus/system_bus_socket".into(),
        bus: false,
        limit: Duration::from_secs(60),
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--socket" => options.socket = words.next()?.into(),
            "--bus" => options.bus = true,
            "--limit" => options.limit = Duration::from_secs(words.next()?.parse().ok()?),
            _ => return None,
        }
    }
    Some(options)
}

#[allow(clippy::print_stderr, reason = "help is for people")]
fn misuse() -> ExitCode {
    eprint!("{HELP}");
    ExitCode::from(2)
}
