//! `setup confirm`: the configuration of this boot led somewhere, and becomes the last good one.

use crate::root::Root;
use crate::store::{self, LAST_GOOD, THIS_BOOT};
use anyhow::{Result, bail};

/// `setup confirm`.
pub fn run() -> Result<()> {
    perform(&Root::system())
}

/// Saves what this boot was planned from, as it was read then: the files may have been edited since.
pub fn perform(root: &Root) -> Result<()> {
    let Some(current) = store::read(root, THIS_BOOT)? else {
        bail!("saving the last good configuration: this boot was not planned from one");
    };
    // An unreadable one is no reason to keep it.
    if store::read(root, LAST_GOOD).is_ok_and(|known| known.as_ref() == Some(&current)) {
        return Ok(());
    }
    store::write(root, LAST_GOOD, &current)
}
