//! What the Node object is to say of the machine, and what of that is news. Pure.
//!
//! | condition | False when |
//! |---|---|
//! | `SkerrySlotGood` | the running slot is not proven yet, or its root was found damaged |
//! | `SkerryUpdateGood` | the last update was left, and the machine went back |
//! | `SkerryConfigGood` | a part of the configuration was left out, or another one runs |
//! | `SkerryClockGood` | the clock was set by guess, and follows no time server |
//! | `SkerryDiskGood` | the state is in memory against the owner's wish, a file system met errors, or the flash is worn out |
//!
//! All are True on a machine that is well, like `Ready`. What does not apply (no slots, no time server) is Unknown.

use super::facts::{Clock, Facts, Slot};
use serde_json::{Value, json};

/// From here on the flash is to be replaced, in percent of its promised life.
const WORN_OUT: u8 = 100;
/// An owner may plan for it from here on.
const WORN: u8 = 80;
/// No message is longer, in characters.
const LONGEST: usize = 500;

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `SkerrySlotGood`
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// One word.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
}

/// What the Node object is to say.
pub fn conditions(f: &Facts) -> Vec<Condition> {
    vec![slot(f), update(f), config(f), clock(f), disk(f)]
        .into_iter()
        .map(|(kind, status, reason, message)| Condition {
            kind,
            status,
            reason,
            message: message.chars().take(LONGEST).collect(),
        })
        .collect()
}

type Said = (&'static str, &'static str, &'static str, String);

fn slot(f: &Facts) -> Said {
    const KIND: &str = "SkerrySlotGood";
    if f.root_damaged {
        let what = "a block of the root is not what it was built as; it is not delivered. Try: skerry upgrade, or another disk";
        return (KIND, "False", "RootDamaged", what.to_owned());
    }
    let version = &f.version;
    match &f.slot {
        None => (KIND, "Unknown", "NoSlots", format!("{version} was not booted from a slot")),
        Some(Slot { name, state, .. }) => match state.as_str() {
            "good" => (KIND, "True", "Good", format!("{version} runs from slot {name}")),
            "on trial" => (KIND, "False", "OnTrial", format!("{version} in slot {name} is on trial")),
            other => (KIND, "False", "Unproven", format!("{version} in slot {name} is {other}")),
        },
    }
}

fn update(f: &Facts) -> Said {
    const KIND: &str = "SkerryUpdateGood";
    let Some(slot) = &f.slot else {
        return (KIND, "Unknown", "NoSlots", "there is no slot to update".to_owned());
    };
    match &slot.left {
        // It is over once another system runs than the one that it went back to.
        Some(left) if left.to == (slot.name.clone(), f.version.clone()) => {
            let what = format!("went back from {} to {}: {}", left.from, left.to.1, left.why);
            (KIND, "False", "RolledBack", what)
        }
        _ => (KIND, "True", "NotRolledBack", "no update was left".to_owned()),
    }
}

fn config(f: &Facts) -> Said {
    const KIND: &str = "SkerryConfigGood";
    if let Some(plan) = &f.other_plan {
        let what = format!("the {plan} configuration runs, not the present one; try: skerry config check");
        return (KIND, "False", "OtherConfig", what);
    }
    if f.dropped.is_empty() {
        return (KIND, "True", "InEffect", "all of the configuration is in effect".to_owned());
    }
    let what = format!("left out: {}; try: skerry config check", f.dropped.join(", "));
    (KIND, "False", "LeftOut", what)
}

fn clock(f: &Facts) -> Said {
    const KIND: &str = "SkerryClockGood";
    match f.clock {
        Clock::Follows => (KIND, "True", "Follows", "the clock follows a time server".to_owned()),
        Clock::Kept => (
            KIND,
            "Unknown",
            "Kept",
            "no time server answers; the machine's own clock goes on".to_owned(),
        ),
        Clock::Guessed => {
            let what =
                "the clock was set to the time at which this machine last ran, and no time server answers; certificates may seem ended";
            (KIND, "False", "Guessed", what.to_owned())
        }
    }
}

fn disk(f: &Facts) -> Said {
    const KIND: &str = "SkerryDiskGood";
    if let Some((mode, why)) = &f.storage {
        if mode == "degraded" {
            let what = format!("state is in memory and gone at the next boot: {why}");
            return (KIND, "False", "Degraded", what);
        }
    }
    if !f.file_systems.is_empty() {
        let all: Vec<String> = f.file_systems.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        return (
            KIND,
            "False",
            "FileSystemErrors",
            format!("file systems met errors: {}", all.join(", ")),
        );
    }
    match &f.wear {
        Some((name, used)) if *used >= WORN_OUT => (KIND, "False", "WornOut", format!("{name} has used up its promised life")),
        Some((name, used)) if *used >= WORN => (KIND, "True", "Worn", format!("{name} has used up to {used} % of its promised life")),
        Some((name, used)) => (KIND, "True", "Good", format!("{name} has used up to {used} % of its promised life")),
        None => (KIND, "True", "Good", "no errors".to_owned()),
    }
}

/// What of it the Node object does not say yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// For `status.conditions`, merged by their types.
    pub patch: Vec<Value>,
    /// Each is an Event: whether it is a warning, and which condition.
    pub events: Vec<(bool, Condition)>,
}

/// Compares with the Node object's `status.conditions`. `now` in RFC 3339.
pub fn news(node: &Value, wanted: &[Condition], now: &str) -> News {
    let mut news = News::default();
    for condition in wanted {
        let said = node.pointer("/status/conditions").and_then(Value::as_array);
        let said = said.and_then(|all| all.iter().find(|c| c["type"] == condition.kind));
        let same = |key: &str, value: &str| said.is_some_and(|c| c[key] == value);
        if same("status", condition.status) && same("reason", condition.reason) && same("message", &condition.message) {
            continue;
        }
        let since = said
            .filter(|_| same("status", condition.status))
            .and_then(|c| c["lastTransitionTime"].as_str());
        news.patch.push(json!({
            "type": condition.kind,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since.unwrap_or(now),
        }));
        let is_bad = condition.status == "False";
        // What is well from the beginning is no event.
        if !same("reason", condition.reason) && (is_bad || said.is_some()) {
            news.events.push((is_bad, condition.clone()));
        }
    }
    news
}

#[cfg(test)]
mod tests {
    use super::super::facts::Left;
    use super::*;

    fn well() -> Facts {
        Facts {
            slot: Some(Slot {
                name: "a".into(),
                state: "good".into(),
                left: None,
            }),
            version: "1".into(),
            clock: Clock::Follows,
            storage: Some(("disk".into(), "clean".into())),
            ..Facts::default()
        }
    }

    fn said(f: &Facts) -> Vec<(&'static str, &'static str)> {
        conditions(f).iter().map(|c| (c.status, c.reason)).collect()
    }

    #[test]
    fn a_machine_that_is_well() {
        let all = conditions(&well());
        assert!(all.iter().all(|c| c.status == "True"), "{all:?}");
    }

    #[test]
    fn what_is_not_well_is_one_condition_and_no_other() {
        let left = Left {
            from: "2".into(),
            to: ("a".into(), "1".into()),
            why: "kubelet: exited with 1".into(),
        };
        let with = |change: &dyn Fn(&mut Facts)| {
            let mut facts = well();
            change(&mut facts);
            facts
        };
        let rolled_back = with(&|f| f.slot.as_mut().unwrap().left = Some(left.clone()));
        let table: [(usize, Facts, (&str, &str), &str); 12] = [
            (0, with(&|f| f.root_damaged = true), ("False", "RootDamaged"), "a block of the root"),
            (
                0,
                with(&|f| f.slot.as_mut().unwrap().state = "on trial".into()),
                ("False", "OnTrial"),
                "1 in slot a is on trial",
            ),
            (
                0,
                with(&|f| f.slot.as_mut().unwrap().state = "unproven".into()),
                ("False", "Unproven"),
                "1 in slot a is unproven",
            ),
            (
                1,
                rolled_back.clone(),
                ("False", "RolledBack"),
                "went back from 2 to 1: kubelet: exited with 1",
            ),
            (
                1,
                with(&|f| {
                    *f = Facts {
                        version: "3".into(),
                        ..rolled_back.clone()
                    }
                }),
                ("True", "NotRolledBack"),
                "no update",
            ),
            (
                2,
                with(&|f| f.dropped = vec!["hostname".into()]),
                ("False", "LeftOut"),
                "left out: hostname",
            ),
            (
                2,
                with(&|f| f.other_plan = Some("last-good".into())),
                ("False", "OtherConfig"),
                "the last-good configuration runs",
            ),
            (3, with(&|f| f.clock = Clock::Guessed), ("False", "Guessed"), "last ran"),
            (3, with(&|f| f.clock = Clock::Kept), ("Unknown", "Kept"), "own clock"),
            (
                4,
                with(&|f| f.storage = Some(("degraded".into(), "torn".into()))),
                ("False", "Degraded"),
                "torn",
            ),
            (
                4,
                with(&|f| f.file_systems = vec![("vda7".into(), 3)]),
                ("False", "FileSystemErrors"),
                "vda7 (3)",
            ),
            (
                4,
                with(&|f| f.wear = Some(("mmcblk0".into(), 110))),
                ("False", "WornOut"),
                "mmcblk0",
            ),
        ];
        for (at, facts, expected, words) in table {
            let all = conditions(&facts);
            assert_eq!((all[at].status, all[at].reason), expected);
            assert!(all[at].message.contains(words), "{}", all[at].message);
            let others = all.iter().enumerate().filter(|(other, _)| *other != at);
            assert!(others.into_iter().all(|(_, c)| c.status == "True"), "{all:?}");
        }
    }

    #[test]
    fn wear_is_said_before_it_is_bad() {
        for (used, expected) in [(10, ("True", "Good")), (80, ("True", "Worn")), (100, ("False", "WornOut"))] {
            let facts = Facts {
                wear: Some(("mmcblk0".into(), used)),
                ..well()
            };
            assert_eq!(said(&facts)[4], expected, "{used}");
        }
    }

    #[test]
    fn without_slots_nothing_is_said_of_them() {
        let facts = Facts { slot: None, ..well() };
        assert_eq!(said(&facts)[..2], [("Unknown", "NoSlots"), ("Unknown", "NoSlots")]);
    }

    #[test]
    fn messages_are_bounded() {
        let facts = Facts {
            dropped: vec!["é".repeat(5000)],
            ..well()
        };
        assert_eq!(conditions(&facts)[2].message.chars().count(), LONGEST);
    }

    /// The Node object with the patch applied, as the API merges it.
    fn merged(node: &Value, patch: &[Value]) -> Value {
        let mut all = node
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for p in patch {
            all.retain(|c| c["type"] != p["type"]);
            all.push(p.clone());
        }
        json!({ "status": { "conditions": all } })
    }

    #[test]
    fn said_once() {
        let kubelets = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }] } });
        let first = news(&kubelets, &conditions(&well()), "t1");
        assert_eq!(
            (first.patch.len(), first.events.len()),
            (5, 0),
            "what is well from the beginning is no event"
        );
        let node = merged(&kubelets, &first.patch);
        assert_eq!(news(&node, &conditions(&well()), "t2"), News::default());

        let bad = Facts {
            dropped: vec!["hostname".into()],
            ..well()
        };
        let second = news(&node, &conditions(&bad), "t3");
        assert_eq!(second.patch.len(), 1);
        assert_eq!(second.patch[0]["lastTransitionTime"], "t3");
        assert!(matches!(&second.events[..], [(true, c)] if c.reason == "LeftOut"));
        let node = merged(&node, &second.patch);

        let worse = Facts {
            dropped: vec!["hostname".into(), "users".into()],
            ..well()
        };
        let third = news(&node, &conditions(&worse), "t4");
        assert_eq!(
            (
                third.patch[0]["lastHeartbeatTime"].as_str(),
                third.patch[0]["lastTransitionTime"].as_str()
            ),
            (Some("t4"), Some("t3"))
        );
        assert_eq!(third.events, [], "the same reason is the same event");
        let node = merged(&node, &third.patch);

        let healed = news(&node, &conditions(&well()), "t5");
        assert!(matches!(&healed.events[..], [(false, c)] if c.reason == "InEffect"));
        assert_eq!(healed.patch[0]["lastTransitionTime"], "t5");
    }

    #[test]
    fn a_bad_beginning_is_an_event() {
        let bad = Facts {
            clock: Clock::Guessed,
            ..well()
        };
        let first = news(&Value::Null, &conditions(&bad), "t1");
        assert!(matches!(&first.events[..], [(true, c)] if c.kind == "SkerryClockGood"));
    }
}
