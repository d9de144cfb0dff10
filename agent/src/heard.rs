//! Whether all that a controller follows was heard. Before that, what is missing would look as if it were gone.

use kube::runtime::watcher::Event;

/// The kinds of objects whose whole list was heard since the last watch broke off.
#[derive(Debug)]
pub struct Heard<K> {
    all: usize,
    whole: Vec<K>,
}

impl<K: Copy + PartialEq> Heard<K> {
    /// Of so many kinds.
    pub fn of(all: usize) -> Self {
        Self { all, whole: vec![] }
    }

    /// What happened to one of them.
    pub fn hear<T>(&mut self, kind: K, event: &Event<T>) {
        match event {
            Event::Init => self.whole.retain(|k| *k != kind),
            Event::InitDone if !self.whole.contains(&kind) => self.whole.push(kind),
            _ => {}
        }
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.whole.len() == self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_have_to_end() {
        let mut heard = Heard::of(2);
        let mut after = |kind: char, event: &Event<()>| {
            heard.hear(kind, event);
            heard.is_whole()
        };
        assert!(!after('a', &Event::InitDone));
        assert!(!after('a', &Event::InitDone), "twice the same");
        assert!(after('b', &Event::InitDone));
        assert!(after('a', &Event::Apply(())));
        assert!(!after('a', &Event::Init), "its watch broke off");
        assert!(!after('a', &Event::InitApply(())));
        assert!(after('a', &Event::InitDone));
    }
}
