//! What holds a pod's namespaces: waits, reaps what is orphaned into it, and ends when told to.
//!
//! `pause make FOLDER` and `pause remove FOLDER` are for volumes of the class `local-path`: every node has this image.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => return pause(),
        ["make", folder] => make(folder),
        ["remove", folder] => remove(folder),
        _ => Err(io::Error::other("expected nothing, make FOLDER or remove FOLDER")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}: {why}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// For whatever user a pod runs as, as local-path-provisioner makes it.
fn make(folder: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o777))
}

/// With all that is in it; links are removed, not followed. One that is gone already is as it should be.
fn remove(folder: &str) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn pause() -> ExitCode {
    let mut awaited = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD] {
        awaited.add(signal);
    }
    if awaited.thread_block().is_err() {
        return ExitCode::FAILURE;
    }
    loop {
        match awaited.wait() {
            Ok(Signal::SIGCHLD) => reap(),
            Ok(_) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::FAILURE,
        }
    }
}

/// Collects every child that has ended; one signal may stand for several.
fn reap() {
    while !matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive) | Err(_)) {}
}
