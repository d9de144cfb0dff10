//! Processes: starting, signalling, reaping.
//!
//! [`spawn`] prepares the child between fork and exec, so that a service costs one exec and no helper. It is made for a program with
//! one thread (PID 1): the child allocates, and reads its `env_file` there, so that PID 1 itself opens nothing on data.
#![allow(
    unsafe_code,
    reason = "clone3, signal dispositions and switching user in the child have no safe wrapper"
)]

use crate::{Doing, Result};
use std::ffi::{CString, OsStr};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::{fmt, fs};

use nix::libc;

/// What a process is looked up in, where its environment has no `PATH`.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The largest `env_file` that is read, in bytes.
const MAX_ENV_FILE: usize = 256 << 10;
/// `linux/sched.h`; the libc crate's constant overflows.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// The child could not be set up; its standard error says why.
pub const NOT_STARTED: i32 = 126;

/// What is to run, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Program<'a> {
    /// Program (absolute path) and arguments.
    pub argv: &'a [String],
    /// The program file, where it is not the first of `argv`.
    pub file: Option<&'a str>,
    /// The environment; `PATH` and `HOME` are added where absent.
    pub env: &'a [(String, String)],
    /// File of `KEY=VALUE` lines that count over `env`.
    pub env_file: Option<&'a str>,
    /// The group it starts in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// It moves there by itself, in place of being born there: needed in a group that was killed before. On Linux 6.18 what
    /// `CLONE_INTO_CGROUP` puts into such a group is killed at once (seen; the test `a_reload_changes_only_what_changed`).
    pub joins: bool,
    /// Standard output; none is `/dev/null`.
    pub output: Option<BorrowedFd<'a>>,
    /// Standard error; none is `/dev/null`.
    pub errors: Option<BorrowedFd<'a>>,
    /// A terminal for all three, with a session of its own there.
    pub tty: Option<&'a str>,
    /// User, group, supplementary groups; none stays as it is.
    pub user: Option<(u32, u32, &'a [u32])>,
    /// `oom_score_adj`; always written, since the caller's own is inherited.
    pub oom_score: i32,
    /// `RLIMIT_NOFILE`, soft and hard.
    pub nofile: Option<u64>,
    /// A descriptor that it finds as number 3.
    pub pass: Option<BorrowedFd<'a>>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Ended with 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(NOT_STARTED) => write!(f, "could not be started (exit code {NOT_STARTED})"),
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(n) => match nix::sys::signal::Signal::try_from(*n) {
                Ok(name) => write!(f, "killed by {name}"),
                Err(_) => write!(f, "killed by signal {n}"),
            },
        }
    }
}

/// Starts a program; returns its pid. What goes wrong after the fork is told on the child's standard error, and it ends with
/// [`NOT_STARTED`].
pub fn spawn(program: &Program) -> Result<u32> {
    let name = program.argv.first().map_or("", String::as_str);
    let words: std::result::Result<Vec<CString>, _> = program.argv.iter().map(|a| CString::new(a.as_bytes())).collect();
    let words = words.map_err(io::Error::from).doing("starting", name)?;
    let file = CString::new(program.file.unwrap_or(name))
        .map_err(io::Error::from)
        .doing("starting", name)?;
    let (pid, is_there) = fork(program.cgroup.filter(|_| !program.joins)).doing("starting", name)?;
    match pid {
        0 => {
            let why = become_program(program, is_there, &file, &words);
            let _ = writeln!(io::stderr(), "{name}: {why}");
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(NOT_STARTED) }
        }
        pid => Ok(pid),
    }
}

/// A copy of this process, born in the given group if the kernel can: joining later waits for an RCU grace period. Returns whether
/// it is there.
fn fork(cgroup: Option<BorrowedFd>) -> io::Result<(u32, bool)> {
    if let Some(group) = cgroup {
        // SAFETY: plain old data; all zero is a valid value.
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.flags = CLONE_INTO_CGROUP;
        args.exit_signal = u64::try_from(libc::SIGCHLD).unwrap_or(0);
        args.cgroup = u64::try_from(group.as_raw_fd()).unwrap_or(0);
        // SAFETY: no memory is shared (no CLONE_VM) and no stack is given, so this is fork; `args` lives through the call.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
        if let Ok(pid) = u32::try_from(pid) {
            return Ok((pid, true));
        }
        // An old kernel, or not a cgroup of version 2.
    }
    // SAFETY: the child only goes on to `become_program`, and the caller has one thread.
    let pid = u32::try_from(unsafe { libc::fork() }).map_err(|_| io::Error::last_os_error())?;
    Ok((pid, false))
}

/// In the child: everything up to exec. Returns only what went wrong.
fn become_program(program: &Program, is_there: bool, file: &CString, words: &[CString]) -> crate::Error {
    let done = set_up(program, is_there).and_then(|env| {
        let pointers = |list: &[CString]| list.iter().map(|w| w.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
        let (argv, envp) = (pointers(words), pointers(&env));
        // SAFETY: both lists end with a null pointer, and the strings they point to outlive the call.
        unsafe { libc::execve(file.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        Err(io::Error::last_os_error()).doing("starting", file.to_string_lossy())
    });
    match done {
        Err(e) => e,
        Ok(()) => crate::Error {
            doing: "starting",
            on: file.to_string_lossy().into_owned(),
            source: io::ErrorKind::Other.into(),
        },
    }
}

fn set_up(p: &Program, is_there: bool) -> Result<Vec<CString>> {
    reset_signals().doing("resetting", "signals")?;
    let _ = rustix::process::setsid(); // fails only where it leads one already
    streams(p)?;
    let env = environment(p);
    // None of this is worth a service that does not run: told in its log, and gone on without.
    let attempt = |done: Result<()>| done.unwrap_or_else(|why| drop(writeln!(io::stderr(), "{why}; starting without")));
    if let Some(group) = p.cgroup.filter(|_| !is_there) {
        attempt(join(group).doing("joining", "the control group"));
    }
    attempt(write_to("/proc/self/oom_score_adj", &p.oom_score.to_string()).doing("setting oom_score_adj to", p.oom_score));
    if let Some(n) = p.nofile {
        let limit = rustix::process::Rlimit {
            current: Some(n),
            maximum: Some(n),
        };
        let done = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
        attempt(done.doing("setting RLIMIT_NOFILE to", n));
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let _ = std::env::set_current_dir("/"); // it is there already
    // SAFETY: marks descriptors from 4 (3 where none is passed) on; memory is not touched.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            if p.pass.is_some() { 4 } else { 3 },
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if let Some((uid, gid, groups)) = p.user {
        switch_user(uid, gid, groups).doing("becoming", format_args!("user {uid}, group {gid}"))?;
    }
    Ok(env)
}

fn write_to(path: &str, text: &str) -> io::Result<()> {
    fs::File::options().write(true).open(path)?.write_all(text.as_bytes())
}

fn join(group: BorrowedFd) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, openat};
    let procs = openat(group, "cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(procs, b"0")?;
    Ok(())
}

fn reset_signals() -> io::Result<()> {
    for n in 1..=64 {
        if n != libc::SIGKILL && n != libc::SIGSTOP {
            // SAFETY: restores a default disposition; those the C library keeps for itself are refused, harmlessly.
            unsafe { libc::signal(n, libc::SIG_DFL) };
        }
    }
    nix::sys::signal::SigSet::empty().thread_set_mask().map_err(io::Error::from)
}

fn streams(p: &Program) -> Result<()> {
    if let Some(tty) = p.tty {
        let fd: OwnedFd = fs::File::options().read(true).write(true).open(tty).doing("opening", tty)?.into();
        // SAFETY: an ioctl with a plain number; 1 takes the terminal from whoever led a session there.
        let _ = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 1) };
        for n in 0..3 {
            duplicate(fd.as_fd(), n).doing("taking", tty)?;
        }
    } else {
        let null: OwnedFd = fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .doing("opening", "/dev/null")?
            .into();
        // Errors first: what goes wrong afterwards is said there.
        for (fd, n) in [(p.errors, 2), (p.output, 1), (None, 0)] {
            duplicate(fd.unwrap_or(null.as_fd()), n).doing("taking", "the log")?;
        }
    }
    if let Some(fd) = p.pass {
        if fd.as_raw_fd() == 3 {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).doing("passing", "a descriptor")?;
        } else {
            duplicate(fd, 3).doing("passing", "a descriptor")?;
        }
    }
    Ok(())
}

fn duplicate(fd: BorrowedFd, to: RawFd) -> io::Result<()> {
    // SAFETY: in the child of a fork; the descriptors overwritten belong to nobody there but the program to come.
    if unsafe { libc::dup2(fd.as_raw_fd(), to) } == to {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn switch_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let answer = |n: libc::c_int| if n == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the list is read for its length only; the process has one thread, so the kernel's per-thread rule is no matter.
    unsafe {
        answer(libc::setgroups(groups.len(), groups.as_ptr()))?;
        answer(libc::setresgid(gid, gid, gid))?;
        answer(libc::setresuid(uid, uid, uid))
    }
}

fn environment(p: &Program) -> Vec<CString> {
    let mut env = p.env.to_vec();
    if let Some(path) = p.env_file {
        match fs::read(path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(MAX_ENV_FILE)).unwrap_or_default()).into_owned();
                for (key, value) in parse_env(&text) {
                    env.retain(|(k, _)| *k != key);
                    env.push((key, value));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            // A service without its environment beats no service.
            Err(e) => drop(writeln!(io::stderr(), "reading {path}: {e}; starting without it")),
        }
    }
    let home = if p.user.is_none_or(|(uid, _, _)| uid == 0) { "/root" } else { "/" };
    for (key, value) in [("PATH", PATH), ("HOME", home)] {
        if !env.iter().any(|(k, _)| k == key) {
            env.push((key.to_owned(), value.to_owned()));
        }
    }
    // An entry with a NUL in it cannot be passed, and is left out.
    env.iter().filter_map(|(k, v)| CString::new(format!("{k}={v}")).ok()).collect()
}

/// Reads `KEY=VALUE` lines: blank lines and `#` comments are skipped, `export` is allowed, values may be in double or single quotes.
/// Lines that are no assignment are skipped.
pub fn parse_env(text: &str) -> Vec<(String, String)> {
    let is_key = |k: &str| {
        !k.is_empty() && !k.starts_with(|c: char| c.is_ascii_digit()) && k.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    text.lines()
        .map(str::trim)
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.strip_prefix("export ").unwrap_or(l).split_once('='))
        .map(|(k, v)| (k.trim(), v.trim()))
        .filter(|(k, _)| is_key(k))
        .map(|(k, v)| (k.to_owned(), unquote(v)))
        .collect()
}

fn unquote(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')) {
        return inner.to_owned();
    }
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(next @ ('"' | '\\' | '$' | '`'))) => {
                out.push(next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

/// Gives back memory that was needed once and is free now: `malloc_trim(3)`.
pub fn give_back_memory() {
    // SAFETY: takes a number, and touches only what is free.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Sends a signal to one process.
pub fn kill(pid: u32, signal: i32) -> Result<()> {
    let target = i32::try_from(pid)
        .ok()
        .filter(|p| *p > 1)
        .ok_or(io::Error::from(io::ErrorKind::InvalidInput))
        .doing("signalling", pid)?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(target), signal_of(signal)).doing("signalling", pid)
}

/// Sends a signal to this process.
pub fn raise(signal: i32) -> Result<()> {
    nix::sys::signal::kill(nix::unistd::Pid::this(), signal_of(signal)).doing("signalling", "itself")
}

/// Sends a signal to every process but PID 1 (when called by it).
pub fn kill_all(signal: i32) -> Result<()> {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(-1), signal_of(signal)).doing("signalling", "all processes")
}

fn signal_of(number: i32) -> Option<nix::sys::signal::Signal> {
    nix::sys::signal::Signal::try_from(number).ok().or(Some(nix::sys::signal::SIGTERM))
}

/// Takes one child that ended, without waiting.
pub fn reap() -> Option<(u32, Exit)> {
    use rustix::process::{WaitOptions, wait};
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or(0);
                match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => return Some((pid, Exit::Code(code))),
                    (None, Some(signal)) => return Some((pid, Exit::Signal(signal))),
                    (None, None) => {} // stopped or continued
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Whether a child of ours is left.
pub fn has_children() -> bool {
    !matches!(
        rustix::process::waitid(
            rustix::process::WaitId::All,
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOHANG | rustix::process::WaitIdOptions::NOWAIT
        ),
        Err(rustix::io::Errno::CHILD)
    )
}

/// This process's number.
pub fn own_pid() -> u32 {
    std::process::id()
}

/// A pipe: read end, write end. Neither survives an exec; reading does not block, writing does.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("making", "a pipe")?;
    rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::NONBLOCK).doing("making", "a pipe")?;
    Ok((read, write))
}

/// Sets a limit of this process and its children to come, as far as allowed: soft, hard.
pub fn limit_files(soft: u64, hard: u64) -> Result<()> {
    let limit = rustix::process::Rlimit {
        current: Some(soft),
        maximum: Some(hard),
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).doing("setting", "RLIMIT_NOFILE")
}

/// Lifts the limit on the number of processes a user may have, for this process and its children to come.
pub fn unlimit_processes() -> Result<()> {
    let limit = rustix::process::Rlimit {
        current: None,
        maximum: None,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nproc, limit).doing("setting", "RLIMIT_NPROC")
}

/// Takes over a descriptor that the parent passed by number ([`Program::pass`] is 3). Call once, first thing in `main`.
pub fn passed(number: RawFd) -> Option<OwnedFd> {
    fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
    // SAFETY: it is open, was put there for us by the parent, and nothing else in the program knows of it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Names this process in `ps`.
pub fn set_name(name: &str) {
    if let Ok(name) = CString::new(OsStr::new(name).as_bytes()) {
        let _ = rustix::thread::set_name(&name); // cosmetic
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn environment_files() {
        let text = "# c\nA=1\nexport B=\"x \\\"y\\\" \\n\"\n C = 'z $A' \nbad line\n=1\n1X=2\nA B=3\nD=\nE=\"a\n";
        let got = parse_env(text);
        let want = [("A", "1"), ("B", "x \"y\" \\n"), ("C", "z $A"), ("D", ""), ("E", "\"a")];
        assert_eq!(got, want.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    /// One test only starts and reaps, since reaping takes any child of the process.
    #[test]
    fn a_program_runs_and_is_reaped() {
        let run = |argv: &[&str], env: &[(String, String)]| {
            let (read, write) = pipe().unwrap();
            let argv: Vec<String> = argv.iter().map(|&a| a.to_owned()).collect();
            let program = Program {
                argv: &argv,
                env,
                output: Some(write.as_fd()),
                errors: Some(write.as_fd()),
                ..Program::default()
            };
            let pid = spawn(&program).unwrap();
            drop(write);
            rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::empty()).unwrap();
            let mut text = String::new();
            fs::File::from(read).read_to_string(&mut text).unwrap();
            let exit = loop {
                match reap() {
                    Some((p, exit)) if p == pid => break exit,
                    _ => std::thread::yield_now(),
                }
            };
            (text, exit)
        };
        let env = [("A".to_owned(), "b c".to_owned())];
        let (text, exit) = run(&["/bin/sh", "-c", "echo $A $HOME $PATH; kill -TERM $$"], &env);
        assert_eq!(text, format!("b c /root {PATH}\n"));
        assert_eq!((exit, exit.to_string().as_str()), (Exit::Signal(15), "killed by SIGTERM"));
        let (text, exit) = run(&["/absent"], &[]);
        assert_eq!(
            (text.as_str(), exit),
            (
                "/absent: starting /absent: No such file or directory (os error 2)\n",
                Exit::Code(NOT_STARTED)
            )
        );
        assert!(kill(1, 0).is_err());
    }
}
