//! From a disk: how long until PID 1, how much of that is the initramfs, and what the first boot takes more than the second.

use super::ours::exec_ms;
use super::{Row, mebibytes, median};
use crate::cases::Bench;
use crate::cases::disk::flashed;
use crate::cases::start::{none_config, none_machine, switch_off, to_login};
use crate::machine::release::Release;
use crate::machine::{Firmware, Request};
use anyhow::{Context, Result};
use serde_json::Value;

/// Seconds from power-on.
#[derive(Debug, Clone, Copy)]
struct Boot {
    /// The kernel's clock begins: firmware and GRUB are done, the two seconds in which GRUB listens for Esc among them.
    kernel: f64,
    /// The initramfs's `/init` begins.
    initramfs: f64,
    /// PID 1 begins on the root.
    pid1: f64,
    /// SSH answers.
    login: f64,
}

/// Boots a freshly flashed disk, and then the same one again. `tell` hears of each round.
pub fn rows(bench: &Bench, rounds: usize, tell: &mut dyn FnMut(&str)) -> Result<Vec<Row>> {
    let mut rows = vec![];
    for (name, firmware) in [("BIOS", Firmware::Bios), ("UEFI", Firmware::Uefi)] {
        let (mut first, mut second) = (vec![], vec![]);
        for round in 1..=rounds {
            let [one, two] = twice(bench, firmware).with_context(|| format!("booting by {name}"))?;
            tell(&format!(
                "{name} {round}: kernel {:.2} s, initramfs {:.2} s, PID 1 {:.2} s, login {:.2} s; first boot's login {:.2} s",
                two.kernel, two.initramfs, two.pid1, two.login, one.login
            ));
            first.push(one);
            second.push(two);
        }
        let of = |boots: &[Boot], f: fn(&Boot) -> f64| median(&boots.iter().map(f).collect::<Vec<_>>());
        let all = of(&second, |b| b.pid1);
        let share = of(&second, |b| b.pid1 - b.initramfs);
        rows.extend([
            Row::shown(
                &format!("disk, {name}: firmware → PID 1"),
                format!("{all:.2} s"),
                &format!("firmware and GRUB (2 s of it for Esc) {:.2} s", of(&second, |b| b.kernel)),
            ),
            Row::shown(
                "  the initramfs's share",
                format!("{share:.2} s"),
                &format!("{:.0} %", 100.0 * share / all),
            ),
            Row::shown(
                "  first boot, with growing of data → login",
                format!("{:.2} s", of(&first, |b| b.login)),
                "",
            ),
            Row::shown(
                "  second boot → login",
                format!("{:.2} s", of(&second, |b| b.login)),
                &format!("the first takes {:+.2} s", of(&first, |b| b.login) - of(&second, |b| b.login)),
            ),
        ]);
    }
    Ok(rows)
}

fn twice(bench: &Bench, firmware: Firmware) -> Result<[Boot; 2]> {
    let name = "bench-disk";
    let disk = flashed(bench, name, &none_config(bench, ""))?;
    let request = Request {
        disk: Some((firmware, disk.clone())),
        ..none_machine(name, None)
    };
    let first = once(bench, &request, true).context("the first time")?;
    let second = once(bench, &request, false).context("the second time")?;
    std::fs::remove_file(&disk).with_context(|| format!("removing {}", disk.display()))?;
    Ok([first, second])
}

fn once(bench: &Bench, request: &Request, is_kept: bool) -> Result<Boot> {
    let lab = &bench.lab;
    let mut machine = to_login(bench, request)?;
    let initramfs = machine.root(lab, "dmesg | grep -m1 'Run /init as init process'")?;
    let initramfs = kernels_seconds(&initramfs)?;
    let pid1 = exec_ms(lab, &mut machine)? / 1000.0;
    let services: Value = serde_json::from_str(&machine.root(lab, "skerry services --json")?).context("reading the services")?;
    let units = services.as_array().context("reading the services")?;
    let sshd = units.iter().find(|u| u.get("name").and_then(Value::as_str) == Some("sshd"));
    let login = sshd
        .and_then(|u| u.get("first_up_ms")?.as_f64())
        .context("asking when sshd was up")?;
    // Last, and alone: what lies between the two readings is added to firmware's time.
    let uptime = machine.root(lab, "cat /proc/uptime")?;
    let kernel = f64::from(machine.age().as_secs_f32()) - uptime.split(' ').next().and_then(|u| u.parse().ok()).unwrap_or(f64::NAN);
    if is_kept {
        switch_off(bench, &mut machine)?;
    } else {
        machine.cut();
    }
    Ok(Boot {
        kernel,
        initramfs: kernel + initramfs,
        pid1: kernel + pid1,
        login: kernel + login / 1000.0,
    })
}

/// `[    1.234567] …`
fn kernels_seconds(line: &str) -> Result<f64> {
    let seconds = line.trim_start_matches(['[', ' ']).split(']').next();
    let seconds = seconds.and_then(|s| s.trim().parse().ok());
    seconds.with_context(|| format!("reading the time in {line:?}"))
}

/// What a person downloads; what was not made is said to be absent.
pub fn sizes(release: &Release) -> Vec<Row> {
    let row = |figure: &str, name: &str, make: &str| match std::fs::metadata(release.dir.join(name)) {
        Ok(found) => Row::shown(figure, format!("{:.0} MiB", mebibytes(found.len())), name),
        Err(_) => Row::shown(figure, "not made".to_owned(), make),
    };
    vec![
        row("flashable image, compressed", "skerry-amd64.img.zst", "make disk"),
        row("  flashed: as long as the smallest disk", "skerry-amd64.img", "make disk"),
        row("ISO", "skerry-amd64.iso", "make iso"),
        row("root image in it", "root.img", "make image"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_time_is_read() {
        let line = "[    1.250000] Run /init as init process";
        assert!((kernels_seconds(line).unwrap() - 1.25).abs() < 1e-9);
        assert!(kernels_seconds("").is_err());
    }
}
