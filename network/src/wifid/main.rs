//! `wifid`: joins the Wi-Fi networks of the configuration, through iwd.

mod agent;
mod bus;
mod daemon;

use anyhow::Context;
use daemon::{Daemon, Places};
use skerry_network::request::Request;
use skerry_network::wifi::asked::Asked;
use skerry_network::wifi::files;
use skerry_sys::log;
use skerry_sys::notify::Notify;
use std::process::ExitCode;

const HELP: &str = "usage: wifid [files] [--run DIR] [--bus ADDRESS]

Joins the Wi-Fi networks that DIR/network.json names, and writes DIR/wifi-state.json.
  files          only write iwd's files, below /run/iwd, from which it takes passphrases and the country
  --run DIR      where network.json is             [/run/skerry]
  --bus ADDRESS  the D-Bus on which iwd is         [unix:path=/run/dbus/system_bus_socket]
";

/// `network.json` is no larger.
const LARGEST: usize = 1024 * 1024;

fn main() -> ExitCode {
    log::begin("NETD_DEBUG", &["skerry_network", "netd", "wifid"]);
    let mut places = Places {
        run: "/run/skerry".into(),
        bus: "unix:path=/run/dbus/system_bus_socket".to_owned(),
    };
    let mut only_files = false;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match (word.as_str(), &mut words) {
            ("files", _) => only_files = true,
            ("--run", rest) => match rest.next() {
                Some(folder) => places.run = folder.into(),
                None => return misuse(),
            },
            ("--bus", rest) => match rest.next() {
                Some(address) => places.bus = address,
                None => return misuse(),
            },
            _ => return misuse(),
        }
    }
    match run(places, only_files) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(places: Places, only_files: bool) -> anyhow::Result<()> {
    let path = places.run.join("network.json");
    let text = skerry_sys::file::read_bounded(&path, LARGEST)?;
    let request: Request = serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
    let asked = Asked::of(&request);
    for problem in &asked.problems {
        tracing::warn!("{problem}");
    }
    if only_files {
        // The bus makes its socket, not the folder around it.
        skerry_sys::file::make_dir("/run/dbus", 0o755)?;
        return Ok(files::perform(&asked, files::SETTINGS.as_ref(), files::NETWORKS.as_ref())?);
    }
    let notify = Notify::new(std::env::var_os("NOTIFY_SOCKET").as_deref());
    Daemon::new(places, asked, notify)?.run()
}

#[allow(clippy::print_stderr, reason = "help is for people")]
fn misuse() -> ExitCode {
    eprint!("{HELP}");
    ExitCode::from(2)
}
