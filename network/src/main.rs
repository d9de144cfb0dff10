//! `netd`: the network daemon.

use anyhow::Context;
use skerry_network::daemon::{Daemon, Places};
use skerry_sys::log;
use skerry_sys::notify::Notify;
use std::process::ExitCode;

const HELP: &str = "usage: netd [--run DIR] [--state DIR] [--chrony DIR] [--group NAME]

Sets up the network as DIR/network.json says, and keeps it so.
  --run DIR     where network.json is, and network-state.json and resolv.conf go  [/run/skerry]
  --state DIR   where leases are kept for the next boot                           [/var/lib/skerry]
  --chrony DIR  where time servers are written to                                 [/run/chrony-dhcp]
  --group NAME  the control group of the system's own services                    [system]
SIGHUP: read network.json again. SIGTERM: end, and leave everything as it is.
";

fn main() -> ExitCode {
    log::begin("NETD_DEBUG", &["skerry_network", "netd", "wifid"]);
    let mut places = Places {
        run: "/run/skerry".into(),
        state: "/var/lib/skerry".into(),
        chrony: "/run/chrony-dhcp".into(),
        group: "system".into(),
    };
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        if word == "--group" {
            match words.next().and_then(|name| name.into_string().ok()) {
                Some(name) => places.group = name,
                None => return misuse(),
            }
            continue;
        }
        let place = match word.to_str() {
            Some("--run") => &mut places.run,
            Some("--state") => &mut places.state,
            Some("--chrony") => &mut places.chrony,
            _ => return misuse(),
        };
        match words.next() {
            Some(dir) => *place = dir.into(),
            None => return misuse(),
        }
    }
    let notify = Notify::new(std::env::var_os("NOTIFY_SOCKET").as_deref());
    match Daemon::new(places, notify).context("starting the network").and_then(Daemon::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "help is for people")]
fn misuse() -> ExitCode {
    eprint!("{HELP}");
    ExitCode::from(2)
}
