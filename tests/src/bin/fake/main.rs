//! A program that does as it is told, for the tests of PID 1: a good service, a bad one, and a stand-in for `setup`.
//!
//! ```text
//! fake ready MILLIS [STATUS]   says READY=1 after so long (STATUS= at once), then runs until SIGTERM
//! fake exit CODE MILLIS        ends so
//! fake never [STATUS]          runs until SIGTERM, never ready
//! fake stubborn                heeds no signal but SIGKILL
//! fake print LINE MILLIS       prints a line with a count every so often
//! fake orphans COUNT           leaves so many children behind, which end a little later; then runs until SIGTERM
//! fake bomb DEPTH              becomes 2^DEPTH processes, all stubborn
//! setup storage|plan|apply …   prints the file /fake/ARGUMENTS, joined by dashes; ends with 1 if it is not there, hangs if it says so
//! k3s|k0s|edgecore …           by that name it stands in for the program: see `stand_in`
//! ```
#![allow(clippy::print_stdout, reason = "printing is what services do")]

mod stand_in;

use skerry_sys::event::Signals;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [program, ref rest @ ..] if program.ends_with("/setup") => return setup(&rest.join("-")),
        [program, ref rest @ ..] if stand_in::is_known(program) => return stand_in::run(program, rest),
        [_, "ready", millis, ref status @ ..] => {
            tell_status(status);
            pause(millis);
            notify("READY=1");
        }
        [_, "exit", code, millis] => {
            println!("about to end with {code}");
            pause(millis);
            return ExitCode::from(code.parse::<u8>().unwrap_or(255));
        }
        [_, "never", ref status @ ..] => tell_status(status),
        [_, "stubborn"] => stay(),
        [_, "shim"] => {}
        [_, "print", line, millis] => {
            for n in 0.. {
                println!("{line} {n}");
                pause(millis);
            }
        }
        [_, "orphans", count] => {
            for _ in 0..count.parse::<u32>().unwrap_or(0) {
                let _ = child(&["exit", "0", "200"]); // at the limit of processes there are fewer
            }
            println!("left {count} behind");
            return ExitCode::SUCCESS;
        }
        [_, "bomb", depth] => {
            let depth = depth.parse::<u32>().unwrap_or(0);
            for below in (0..depth).rev() {
                let _ = child(&["bomb", &below.to_string()]); // the limit is what is tested
            }
            stay();
        }
        _ => {
            println!("fake does not know {words:?}");
            return ExitCode::from(2);
        }
    }
    loop {
        thread::park();
    }
}

fn child(words: &[&str]) -> std::io::Result<std::process::Child> {
    let me = env::current_exe()?;
    Command::new(me)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn pause(millis: &str) {
    thread::sleep(Duration::from_millis(millis.parse().unwrap_or(0)));
}

fn stay() -> ! {
    let _blocked = Signals::take(&[]);
    loop {
        thread::park();
    }
}

fn tell_status(words: &[&str]) {
    if !words.is_empty() {
        notify(&format!("STATUS={}", words.join(" ")));
    }
}

fn notify(text: &str) {
    let sent = env::var("NOTIFY_SOCKET").map(|path| UnixDatagram::unbound().and_then(|s| s.send_to(text.as_bytes(), path)));
    println!("{text}: {sent:?}");
}

fn setup(name: &str) -> ExitCode {
    match fs::read_to_string(format!("/fake/{name}")) {
        Ok(text) if text == "hang" => stay(),
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("/fake/{name}: {why}");
            ExitCode::FAILURE
        }
    }
}
