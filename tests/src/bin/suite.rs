//! `make test`: every tier that this computer can run, cheapest first; the last line says how many passed, failed and were skipped.

#![allow(clippy::print_stdout, reason = "telling how the tests go is this program's job")]

use anyhow::{Context, Result, bail};
use skerry_tests::cases::{self, Bench, Case, TABLE, When};
use skerry_tests::machine::release::{self, Release};
use skerry_tests::machine::{Lab, accel::Accel};
use skerry_tests::suite::tiers::{self, Counts, Tier};
use skerry_tests::suite::{Tally, count, space, step};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const HELP: &str = "suite [--list] [--only WORD] [--torture] [--jobs N]

  --list       what would run, and how long the machine tests are expected to take
  --only WORD  only what has WORD in its name (fmt, clippy, test, image, control-plane, machine, or a machine test); WORD,WORD for several
  --torture    the slow machine tests too
  --jobs N     machine tests at a time (as many as cores, 2 at most); those with Kubernetes have the computer to themselves

REQUIRE=all   a skipped test is a failure
SKERRY_OUT    test this release instead of making one
SKERRY_KEEP=1 leave the disks of the machines that passed in target/machine/";

struct Request {
    only: Option<String>,
    list: bool,
    torture: bool,
    jobs: usize,
}

fn request(arguments: impl Iterator<Item = String>) -> Result<Request> {
    let mut request = Request {
        only: std::env::var("ONLY").ok().filter(|o| !o.is_empty()),
        list: false,
        torture: false,
        jobs: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2)),
    };
    let mut arguments = arguments;
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--list" => request.list = true,
            "--torture" => request.torture = true,
            "--only" => request.only = Some(arguments.next().context("reading --only: no word follows")?),
            "--jobs" => {
                request.jobs = arguments
                    .next()
                    .and_then(|n| n.parse().ok())
                    .context("reading --jobs: no number follows")?;
            }
            other => bail!("reading {other:?}: not known\n\n{HELP}"),
        }
    }
    Ok(request)
}

fn main() -> ExitCode {
    let request = match request(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(e) => {
            eprintln!("suite: {e:#}");
            return ExitCode::from(2);
        }
    };
    if request.list {
        list(&request);
        return ExitCode::SUCCESS;
    }
    let runner = Runner {
        started: Instant::now(),
        request,
        failures: Mutex::default(),
    };
    if let Some(warning) = space::free().and_then(space::warning) {
        runner.say("space", &warning);
    }
    let mut tally = Tally::default();
    for tier in tiers::of_this_computer().iter().filter(|t| runner.wants(t.name)) {
        tally += runner.tier(tier);
    }
    tally += runner.image_and_machines();
    tally += runner.unproven();
    let all = std::env::var("REQUIRE").is_ok_and(|r| r == "all");
    runner.say("done", "all that was asked for has run");
    for failure in runner.failures.lock().iter().flat_map(|f| f.iter()) {
        println!("failed: {failure}");
    }
    println!("{tally}");
    if tally.is_success(all) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn list(request: &Request) {
    let runner = Runner {
        started: Instant::now(),
        request: Request {
            only: request.only.clone(),
            ..*request
        },
        failures: Mutex::default(),
    };
    for tier in tiers::of_this_computer().iter().filter(|t| runner.wants(t.name)) {
        println!("{:<20} {}", tier.name, tier.what);
    }
    println!("{:<20} the release can be made, twice to the same bytes", "image");
    let native = tiers::CONTROL_PLANE;
    if runner.wants(native.name) {
        println!("{:<20} {}", native.name, native.what);
    }
    for case in runner.cases() {
        println!("{:<20} {} ({} s)", case.name, case.what, case.seconds);
    }
    let _ = runner.unproven();
}

struct Runner {
    started: Instant,
    request: Request,
    /// What failed, told once more at the end.
    failures: Mutex<Vec<String>>,
}

impl Runner {
    fn wants(&self, name: &str) -> bool {
        self.request
            .only
            .as_deref()
            .is_none_or(|only| only.split(',').any(|word| name.contains(word)))
    }

    fn cases(&self) -> Vec<&'static Case> {
        let named = |name: &str| {
            self.request
                .only
                .as_deref()
                .is_some_and(|only| only.split(',').any(|word| word == name))
        };
        let on = |c: &&Case| c.when == When::Always || self.request.torture || named(c.name);
        TABLE
            .iter()
            .filter(on)
            .filter(|c| self.wants(&format!("machine {}", c.name)))
            .collect()
    }

    /// Cases that are asked for, but not yet worth believing: told, and counted as skipped.
    fn unproven(&self) -> Tally {
        let run = self.cases();
        let left = TABLE
            .iter()
            .filter(|c| c.when == When::Unproven && self.wants(&format!("machine {}", c.name)))
            .filter(|c| !run.iter().any(|r| r.name == c.name));
        let mut tally = Tally::default();
        for case in left {
            self.say(case.name, "skipped: written, but never seen to pass");
            tally += Tally::skipped(1);
        }
        tally
    }

    fn failed(&self, failure: String) {
        if let Ok(mut failures) = self.failures.lock() {
            failures.push(failure);
        }
    }

    fn say(&self, name: &str, text: &str) {
        let at = self.started.elapsed().as_secs();
        println!("[{:3}:{:02}] {name:<20} {text}", at / 60, at % 60);
    }

    fn tier(&self, tier: &Tier) -> Tally {
        if tier.counts == Counts::Tests {
            self.tools();
        }
        self.say(tier.name, tier.what);
        self.cargo(tier, release::cargo())
    }

    /// Programs of other people's that the rooms' own tests judge by, too: from nothing, a test would be skipped for want of them.
    fn tools(&self) {
        self.say("tools", "what tests judge by: veritysetup, QEMU, makers of file systems");
        match step::run("tools", &mut tiers::images(&["tools"]), |line| self.say("", line)) {
            Ok(made) if made.well => {}
            Ok(made) => self.say("tools", &format!("not made:\n{}", made.last_lines(20))),
            Err(why) => self.say("tools", &format!("not made: {why:#}")),
        }
    }

    /// What its tests leave among the temporary files goes with them.
    fn cargo(&self, tier: &Tier, mut command: Command) -> Tally {
        let folder = std::env::temp_dir().join(format!("skerry-suite-{}", std::process::id()));
        let made = std::fs::create_dir_all(&folder);
        if made.is_ok() {
            command.env("TMPDIR", &folder);
        }
        let tally = self.step(tier.name, command.args(tier.cargo), tier.counts);
        let _ = std::fs::remove_dir_all(&folder); // if it cannot be removed, it is as if there had been none
        tally
    }

    /// Runs a program, tells how it went, and counts it.
    fn step(&self, name: &str, command: &mut Command, counts: Counts) -> Tally {
        let ended = match step::run(name, command, |line| self.say("", line)) {
            Ok(ended) => ended,
            Err(e) => {
                self.say(name, &format!("FAILED: {e:#}"));
                self.failed(format!("{name}: {e:#}"));
                return Tally::one(false);
            }
        };
        let mut tally = if counts == Counts::Tests {
            count::count(&ended.output)
        } else {
            Tally::one(ended.well)
        };
        if counts == Counts::Report {
            self.say(
                name,
                if ended.well {
                    "nothing known"
                } else {
                    "see target/test/advisories.log (a report, not a test)"
                },
            );
            return Tally::default();
        }
        if !ended.well && tally.failed == 0 {
            tally.failed = 1; // it did not come as far as its tests
        }
        let took = format!("{:.1} s", ended.took.as_secs_f32());
        if tally.failed == 0 {
            let tests = if counts == Counts::Tests {
                format!(" ({tally})")
            } else {
                String::new()
            };
            self.say(name, &format!("ok{tests} in {took}"));
            for remark in count::remarks(&ended.output) {
                self.say("", &remark);
            }
        } else {
            let failures = count::failures(&ended.output).join(", ");
            self.say(name, &format!("FAILED in {took} {failures}"));
            self.failed(format!("{name}: {failures}"));
            println!("{}", ended.last_lines(40));
        }
        tally
    }

    fn image_and_machines(&self) -> Tally {
        let cases = self.cases();
        let mut tally = Tally::default();
        let native = self.wants(tiers::CONTROL_PLANE.name);
        if cases.is_empty() && !self.wants("image") {
            return if native { self.control_plane() } else { tally };
        }
        if std::env::var_os("SKERRY_OUT").is_none() {
            self.say("image", "the release is made");
            tally += self.step("image", &mut tiers::images(&["image", "--out", "out"]), Counts::Itself);
            if tally.failed > 0 {
                self.say("machine", &format!("{} tests need the release", cases.len()));
                tally += Tally::skipped(cases.len());
                return tally;
            }
            if self.wants("image") {
                self.say("image-reproducible", "made twice, the root has the same hash");
                tally += self.step("image-reproducible", &mut tiers::images(&["check-reproducible"]), Counts::Itself);
            }
        }
        if native {
            tally += self.control_plane();
        }
        if !cases.is_empty() {
            tally += self.machines(&cases);
        }
        tally
    }

    fn control_plane(&self) -> Tally {
        let tier = tiers::CONTROL_PLANE;
        self.say(tier.name, tier.what);
        match tiers::kubernetes(|line| self.say("", line)) {
            Ok(program) => {
                let mut command = release::cargo();
                command.env("SKERRY_KUBERNETES", program);
                self.cargo(&tier, command)
            }
            Err(why) => {
                self.say(tier.name, &format!("FAILED: {why:#}"));
                self.failed(format!("{}: {why:#}", tier.name));
                Tally::one(false)
            }
        }
    }

    fn machines(&self, cases: &[&'static Case]) -> Tally {
        let bench = match self.bench() {
            Ok(bench) => bench,
            Err(e) => {
                self.say("machine", &format!("{} tests skipped: {e:#}", cases.len()));
                return Tally::skipped(cases.len());
            }
        };
        let slow = if bench.lab.accel == Accel::Tcg {
            ", by translation (TCG)"
        } else {
            ", by KVM"
        };
        let sum: u32 = cases.iter().map(|c| c.seconds).sum();
        self.say(
            "machine",
            &format!("{} tests, about {} minutes{slow}", cases.len(), sum.div_ceil(60)),
        );
        let (alone, together): (Vec<_>, Vec<_>) = cases.iter().copied().partition(|c| c.is_alone());
        let mut tally = self.all(&together, &bench, self.request.jobs.max(1));
        tally += self.all(&alone, &bench, 1);
        if tally.failed == 0 {
            space::tidy(&bench.lab.artifacts);
        }
        tally
    }

    fn all(&self, cases: &[&'static Case], bench: &Bench, jobs: usize) -> Tally {
        let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let one = self.case(case, bench);
                        if let Ok(mut tally) = tally.lock() {
                            *tally += one;
                        }
                    }
                });
            }
        });
        tally.into_inner().unwrap_or_default()
    }

    fn case(&self, case: &Case, bench: &Bench) -> Tally {
        self.say(case.name, case.what);
        let started = Instant::now();
        let checks = cases::run(case, bench);
        if let (Some(why), true) = (&checks.skipped, checks.failed.is_empty()) {
            self.say(case.name, &format!("SKIPPED: {why}"));
            return Tally::skipped(1);
        }
        let took = format!("{:.0} s (expected {})", started.elapsed().as_secs_f32(), case.seconds);
        if checks.failed.is_empty() {
            self.say(case.name, &format!("ok: {} assertions in {took}", checks.held));
        } else {
            self.say(
                case.name,
                &format!(
                    "FAILED: {} of {} assertions in {took}",
                    checks.failed.len(),
                    checks.failed.len() + checks.held
                ),
            );
            for failed in &checks.failed {
                println!("          - {failed}");
                self.failed(format!("{}: {failed}", case.name));
            }
            println!("          see target/machine/{}/", case.name);
        }
        Tally::one(checks.failed.is_empty())
    }

    fn bench(&self) -> Result<Bench> {
        let lab = Lab::with(Release::read()?)?;
        let hello = release::hello()?;
        let fake = tiers::make_fake(|line| self.say("", line))?;
        Ok(Bench::new(lab, hello, fake))
    }
}
