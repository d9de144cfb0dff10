//! One line from a person: shown, or hidden while it is typed.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// How the terminal was before it hid what is typed.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The longest line that is taken.
const LONGEST: u64 = 64 << 10;

/// Asks on standard error, so that standard output stays the program's. None: there is nobody (any more).
pub fn ask(prompt: &str, is_hidden: bool) -> io::Result<Option<String>> {
    eprint!("{prompt}");
    io::stderr().flush()?;
    let is_hidden = is_hidden && hide();
    let mut line = vec![];
    let read = io::Read::take(io::stdin().lock(), LONGEST).read_until(b'\n', &mut line);
    if is_hidden {
        show_again();
        eprintln!();
    }
    if read? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&line);
    // Serial lines end with all sorts of things.
    Ok(Some(line.trim_matches(|c: char| c.is_whitespace() || c.is_control()).to_owned()))
}

/// Whether there is a person.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn hide() -> bool {
    let Ok(before) = tcgetattr(io::stdin()) else { return false };
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    tcsetattr(io::stdin(), OptionalActions::Now, &hidden).is_ok()
}

/// Undoes the hiding, if there was any.
pub fn show_again() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone shows nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}
