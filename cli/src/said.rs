//! An error and its causes, as one line for a person.

/// The causes from the outermost inwards. One that its parent has said already (as `skerry_sys::Error` does) is not said twice.
pub fn said(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.extend([": ", &cause]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn nothing_is_said_twice() {
        let error = skerry_sys::file::read_bounded("/no/such", 1).context("looking").unwrap_err();
        assert_eq!(said(&error), "looking: reading /no/such: No such file or directory (os error 2)");
    }
}
