//! `/etc/passwd`, `shadow` and `group`, from the image's and the configuration's. Pure.

use crate::lines::joined;

/// The three files' texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    /// `/etc/passwd`
    pub passwd: String,
    /// `/etc/shadow`
    pub shadow: String,
    /// `/etc/group`
    pub group: String,
}

/// One login user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// User and group number.
    pub id: u32,
    /// The name of its own group.
    pub group: String,
    /// Its home.
    pub home: String,
    /// A crypt(3) hash; none: whatever is there stays, and no password if nothing is.
    pub hash: Option<String>,
    /// Whether it is in group `sudo`.
    pub sudo: bool,
}

/// The same files with these users in them. Lines of others are not touched; doing it twice changes nothing.
pub fn with_logins(base: &Accounts, logins: &[Login]) -> Accounts {
    let mut passwd = lines(&base.passwd);
    let mut shadow = lines(&base.shadow);
    let mut group = lines(&base.group);
    for l in logins {
        let line = format!("{}:x:{}:{}::{}:/bin/bash", l.name, l.id, l.id, l.home);
        match position(&passwd, &l.name) {
            // A line of the same number may have been made by the image or by the owner: shell and home are theirs.
            Some(at) if field(&passwd, at, 2) == l.id.to_string() => {}
            Some(at) => set(&mut passwd, at, line),
            None => passwd.push(line),
        }
        let there = position(&shadow, &l.name);
        let kept = there.map(|at| field(&shadow, at, 1)).filter(|h| h.starts_with('$'));
        let hash = l.hash.clone().or(kept).unwrap_or_else(|| "*".to_owned());
        // No date of the last change: a wrong clock must not make a password too old.
        let line = format!("{}:{hash}::0:99999:7:::", l.name);
        match there {
            Some(at) => set(&mut shadow, at, line),
            None => shadow.push(line),
        }
        // A second name of a user is a second name of its group too: k3OS files say `owner: rancher:rancher`.
        for name in [&l.group, &l.name] {
            if position(&group, name).is_none() {
                group.push(format!("{name}:x:{}:", l.id));
            }
        }
        if l.sudo {
            join_group(&mut group, "sudo", &l.name);
        }
    }
    Accounts {
        passwd: text(&passwd),
        shadow: text(&shadow),
        group: text(&group),
    }
}

/// The same files without these users (and their own groups).
pub fn without(base: &Accounts, gone: &[String]) -> Accounts {
    let keep = |t: &str| {
        text(
            &lines(t)
                .into_iter()
                .filter(|l| !gone.iter().any(|g| name_of(l) == g))
                .collect::<Vec<_>>(),
        )
    };
    let mut group = lines(&keep(&base.group));
    for line in &mut group {
        if let Some((head, members)) = line.rsplit_once(':') {
            let left: Vec<&str> = members.split(',').filter(|m| !gone.iter().any(|g| g == m)).collect();
            *line = format!("{head}:{}", left.join(","));
        }
    }
    Accounts {
        passwd: keep(&base.passwd),
        shadow: keep(&base.shadow),
        group: text(&group),
    }
}

/// Gives each name a number that stays its own for ever, since its files on data carry it. `known` is the list so far.
pub fn numbers(known: &[(String, u32)], names: &[String]) -> Vec<(String, u32)> {
    let mut all = known.to_vec();
    for name in names {
        if !all.iter().any(|(n, _)| n == name) {
            let next = all.iter().map(|(_, id)| id + 1).max().unwrap_or(0).max(1001);
            all.push((name.clone(), next));
        }
    }
    all
}

/// The user and group numbers of a name (or number) in `passwd`.
pub fn user_id(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let found = passwd.lines().find(|l| name_of(l) == name).and_then(|l| {
        let mut fields = l.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    found.or_else(|| name.parse().ok().map(|id| (id, id)))
}

/// The number of a group's name (or number) in `group`.
pub fn group_id(group: &str, name: &str) -> Option<u32> {
    let found = group
        .lines()
        .find(|l| name_of(l) == name)
        .and_then(|l| l.split(':').nth(2)?.parse().ok());
    found.or_else(|| name.parse().ok())
}

fn join_group(group: &mut Vec<String>, name: &str, member: &str) {
    let Some(at) = position(group, name) else {
        // Debian's number for it.
        group.push(format!("{name}:x:27:{member}"));
        return;
    };
    if let Some(line) = group.get_mut(at) {
        let members = line.rsplit(':').next().unwrap_or_default();
        if !members.split(',').any(|m| m == member) {
            let comma = if members.is_empty() { "" } else { "," };
            *line = format!("{line}{comma}{member}");
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|l| !l.trim().is_empty()).map(str::to_owned).collect()
}

fn text(lines: &[String]) -> String {
    joined(lines)
}

fn name_of(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

fn position(lines: &[String], name: &str) -> Option<usize> {
    lines.iter().position(|l| name_of(l) == name)
}

fn field(lines: &[String], at: usize, n: usize) -> String {
    lines.get(at).and_then(|l| l.split(':').nth(n)).unwrap_or_default().to_owned()
}

fn set(lines: &mut [String], at: usize, line: String) {
    if let Some(slot) = lines.get_mut(at) {
        *slot = line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::golden;

    fn base() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/bash\nskerry:x:1000:1000:Skerry:/home/skerry:/bin/bash\n".into(),
            shadow: "root:*:19000:0:99999:7:::\nskerry:!:19000:0:99999:7:::\n".into(),
            group: "root:x:0:\nsudo:x:27:admin\nskerry:x:1000:\n".into(),
        }
    }

    fn login(name: &str, id: u32, hash: Option<&str>, sudo: bool) -> Login {
        let group = if id == 1000 { "skerry" } else { name };
        Login {
            name: name.into(),
            id,
            group: group.into(),
            home: format!("/home/{name}"),
            hash: hash.map(str::to_owned),
            sudo,
        }
    }

    fn logins() -> Vec<Login> {
        vec![
            login("skerry", 1000, Some("$6$salt$hash"), true),
            login("rancher", 1000, Some("$6$salt$hash"), true),
            login("ops", 1001, None, false),
        ]
    }

    #[test]
    fn golden_files() {
        let out = with_logins(&base(), &logins());
        golden(
            "accounts.txt",
            &format!("# passwd\n{}\n# shadow\n{}\n# group\n{}", out.passwd, out.shadow, out.group),
        );
    }

    #[test]
    fn twice_is_once() {
        let once = with_logins(&base(), &logins());
        assert_eq!(with_logins(&once, &logins()), once);
        assert_eq!(with_logins(&Accounts::default(), &logins()).passwd.lines().count(), 3);
    }

    #[test]
    fn a_password_set_by_a_command_stays_when_the_config_names_none() {
        let mut set = with_logins(&base(), &logins());
        set.shadow = set.shadow.replace("ops:*", "ops:$6$by$hand");
        assert!(
            with_logins(&set, &[login("ops", 1001, None, false)])
                .shadow
                .contains("ops:$6$by$hand:")
        );
    }

    #[test]
    fn users_leave() {
        let left = without(&with_logins(&base(), &logins()), &["ops".into(), "rancher".into()]);
        assert!(!left.passwd.contains("ops") && !left.shadow.contains("rancher"));
        assert!(left.group.contains("sudo:x:27:admin,skerry\n"), "{}", left.group);
    }

    #[test]
    fn numbers_stay() {
        let known = numbers(&[], &["a".into(), "b".into()]);
        assert_eq!(known, [("a".into(), 1001), ("b".into(), 1002)]);
        assert_eq!(numbers(&known, &["c".into(), "b".into()])[2], ("c".into(), 1003));
    }

    #[test]
    fn ids() {
        assert_eq!(user_id(&base().passwd, "skerry"), Some((1000, 1000)));
        assert_eq!(user_id(&base().passwd, "7"), Some((7, 7)));
        assert_eq!(user_id(&base().passwd, "nobody"), None);
        assert_eq!(group_id(&base().group, "sudo"), Some(27));
    }
}
