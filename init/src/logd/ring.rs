//! The last bytes of a log, in memory.

use std::collections::VecDeque;

/// Holds at most so many bytes; what is older is forgotten line by line.
#[derive(Debug)]
pub struct Ring {
    bytes: VecDeque<u8>,
    max: usize,
}

impl Ring {
    /// An empty one. Memory is taken as lines come.
    pub fn new(max: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            max,
        }
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let newest = bytes.get(bytes.len().saturating_sub(self.max)..).unwrap_or_default();
        let excess = (self.bytes.len() + newest.len()).saturating_sub(self.max);
        self.forget(excess);
        // By hand: the growth of VecDeque would double past `max`.
        let room = (self.bytes.len() + newest.len()).next_multiple_of(4096).min(self.max);
        self.bytes.reserve_exact(room.saturating_sub(self.bytes.len()));
        self.bytes.extend(newest);
    }

    /// Changes how much it holds.
    pub fn resize(&mut self, max: usize) {
        self.max = max;
        self.forget(self.bytes.len().saturating_sub(max));
        self.bytes.shrink_to(self.bytes.len());
    }

    /// Forgets so many bytes, and the rest of the line they end in.
    fn forget(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let rest = self
            .bytes
            .iter()
            .skip(count - 1)
            .position(|b| *b == b'\n')
            .map_or(self.bytes.len(), |at| count + at);
        self.bytes.drain(..rest.min(self.bytes.len()));
    }

    /// All that it holds.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }
}

/// The part of `bytes` that is its last lines, so many.
pub fn last_lines(bytes: &[u8], count: usize) -> &[u8] {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if count == 0 {
        return &[];
    }
    let start = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, b)| **b == b'\n')
        .nth(count - 1)
        .map_or(0, |(at, _)| at + 1);
    bytes.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forgets_whole_lines() {
        let mut r = Ring::new(10);
        r.push(b"one\ntwo\n");
        r.push(b"three\n");
        assert_eq!(r.bytes(), b"two\nthree\n");
        r.push(b"4\n");
        assert_eq!(r.bytes(), b"three\n4\n");
        r.push(b"a line longer than all\n");
        assert_eq!(r.bytes(), b"r than all\n".get(1..).unwrap());
        r.resize(4);
        assert!(r.bytes().len() <= 4);
    }

    #[test]
    fn last() {
        for (text, n, want) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb", 1, "b"),
            ("a\n", 5, "a\n"),
            ("", 3, ""),
            ("a\nb\n", 0, ""),
            ("\n\n", 1, "\n"),
        ] {
            assert_eq!(last_lines(text.as_bytes(), n), want.as_bytes(), "{text:?} {n}");
        }
    }

    proptest! {
        #[test]
        fn never_too_much_and_always_the_newest(max in 1..200usize, pushes in proptest::collection::vec(proptest::collection::vec(0x0au8..0x0e, 0..300), 0..20)) {
            let mut ring = Ring::new(max);
            let mut all = vec![];
            for p in &pushes {
                ring.push(p);
                all.extend(p);
                let held = ring.bytes();
                prop_assert!(held.len() <= max);
                prop_assert!(all.ends_with(&held));
                prop_assert!(ring.bytes.capacity() <= max.next_multiple_of(4096) + 4096);
            }
        }
    }
}
