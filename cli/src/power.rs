//! `reboot`, `poweroff`, `halt` and `shutdown`, under the names everyone knows.

use crate::machine;
use skerry_control::request::Request;
use std::process::ExitCode;

/// What the words of such a command mean: `None` if they ask for something else.
fn meaning(name: &str, args: &[String]) -> Option<Request> {
    let flag = |f: &str| args.iter().any(|a| a == f);
    let time = args.iter().find(|a| !a.starts_with('-'));
    match name {
        "reboot" => Some(Request::Reboot),
        "shutdown" if flag("-c") || flag("-k") => None,
        // The first word is the time; what follows is a message to those who are logged in (shutdown(8)).
        "shutdown" if time.is_some_and(|a| a != "now" && a != "+0") => None,
        "shutdown" if flag("-r") || flag("--reboot") => Some(Request::Reboot),
        "poweroff" | "halt" | "shutdown" => Some(Request::PowerOff),
        _ => None,
    }
}

/// Does what the command's name and words say.
pub fn by_name(name: &str, args: &[String]) -> anyhow::Result<ExitCode> {
    if args.iter().any(|a| a == "-h" && name != "shutdown" || a == "--help") {
        println!(
            "{name}: stops every service, then {}",
            if name == "reboot" {
                "restarts the machine"
            } else {
                "switches the machine off"
            }
        );
        println!("A second time, while the first is under way, forces it.");
        return Ok(ExitCode::SUCCESS);
    }
    let Some(request) = meaning(name, args) else {
        eprintln!("{name}: only an immediate shutdown is known here; write: shutdown [-r] now");
        return Ok(ExitCode::from(2));
    };
    machine::order(&request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let m = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            meaning(&words[0], &words[1..])
        };
        for (line, wanted) in [
            ("reboot", Some(Request::Reboot)),
            ("reboot -f", Some(Request::Reboot)),
            ("poweroff", Some(Request::PowerOff)),
            ("halt -p", Some(Request::PowerOff)),
            ("shutdown -h now", Some(Request::PowerOff)),
            ("shutdown -r now", Some(Request::Reboot)),
            ("shutdown -r +0", Some(Request::Reboot)),
            // QEMU's guest agent.
            ("shutdown -h -P +0 hypervisor initiated shutdown", Some(Request::PowerOff)),
            ("shutdown -r 23:00", None),
            ("shutdown -r 23:00 now", None),
            ("shutdown -c", None),
        ] {
            assert_eq!(m(line), wanted, "{line}");
        }
    }
}
