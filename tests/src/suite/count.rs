//! How many tests a test program's output tells of.

use super::Tally;

/// How cargo shows what is marked `#[ignore = "a part of the others"]`.
const PART: &str = "... ignored, a part of the others";

/// Reads the lines of `cargo test` and of `cargo nextest run`. A test that says `skipped: WHY` passed nothing, and
/// one that says `elsewhere: WHY; WHERE` is no test of this run.
pub fn count(output: &str) -> Tally {
    let mut tally = Tally::default();
    for line in output.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            tally += words(rest, "ignored");
        } else if let Some((_, rest)) = line.strip_prefix("Summary [").and_then(|l| l.split_once("tests run:")) {
            tally += words(rest, "skipped");
        }
    }
    // What another test runs in a process of its own is no test by itself.
    let parts = output.lines().filter(|l| l.trim().ends_with(PART)).count();
    tally.skipped = tally.skipped.saturating_sub(parts);
    let unable = output.lines().filter(|l| l.contains("skipped: ")).count().min(tally.passed);
    tally.passed -= unable;
    tally.skipped += unable;
    // What is proven elsewhere passed there, and is counted there.
    let elsewhere = output.lines().filter(|l| l.contains("elsewhere: ")).count().min(tally.passed);
    tally.passed -= elsewhere;
    tally
}

/// What tests say of themselves that a person should read: why one was skipped, or which machine test proves it in its place.
pub fn remarks(output: &str) -> Vec<String> {
    let remark = |line: &str| {
        let at = ["skipped: ", "elsewhere: "].into_iter().find_map(|word| line.find(word))?;
        line.get(at..).map(str::to_owned)
    };
    let mut remarks: Vec<String> = output.lines().filter_map(remark).collect();
    remarks.sort();
    remarks.dedup();
    remarks
}

/// The names of the tests that failed.
pub fn failures(output: &str) -> Vec<String> {
    let of_cargo = |l: &str| l.strip_prefix("test ")?.strip_suffix(" ... FAILED").map(str::to_owned);
    let of_nextest = |l: &str| Some(l.strip_prefix("FAIL [")?.split_once(']')?.1.trim().to_owned());
    let mut names: Vec<String> = output
        .lines()
        .map(str::trim)
        .filter_map(|l| of_cargo(l).or_else(|| of_nextest(l)))
        .collect();
    names.dedup();
    names
}

fn words(line: &str, skipped: &str) -> Tally {
    let number = |word: &str| {
        let before = line.split(word).next().filter(|b| b.len() < line.len())?;
        before.trim_end().rsplit(' ').next()?.parse().ok()
    };
    Tally {
        passed: number("passed").unwrap_or(0),
        failed: number("failed").unwrap_or(0),
        skipped: number(skipped).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runners_are_read() {
        let cargo = "running 3 tests\ntest a::b ... ok\ntest a::c ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                     test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(
            count(cargo),
            Tally {
                passed: 6,
                failed: 1,
                skipped: 1
            }
        );
        assert_eq!(failures(cargo), ["a::c"]);
        let nextest =
            "        FAIL [   0.005s] skerry-config  cases::n\n     Summary [   1.2s] 12 tests run: 10 passed, 2 failed, 3 skipped\n";
        assert_eq!(
            count(nextest),
            Tally {
                passed: 10,
                failed: 2,
                skipped: 3
            }
        );
        assert_eq!(failures(nextest), ["skerry-config  cases::n"]);
        let all_well = "     Summary [   1.2s] 12 tests run: 12 passed (1 slow), 0 skipped\n";
        assert_eq!(
            count(all_well),
            Tally {
                passed: 12,
                failed: 0,
                skipped: 0
            }
        );
        assert_eq!(count("error: could not compile"), Tally::default());
        let part = "test a ... ok\ntest part ... ignored, a part of the others\ntest b ... ignored\ntest result: ok. 1 passed; 0 failed; 2 ignored\n";
        assert_eq!(
            count(part),
            Tally {
                passed: 1,
                failed: 0,
                skipped: 1
            }
        );
        let away = "test a ... elsewhere: no x here; machine test y\nok\ntest result: ok. 2 passed; 0 failed; 0 ignored\n";
        assert_eq!((count(away).passed, count(away).skipped), (1, 0));
        let said = "test a ... elsewhere: no WireGuard here; machine test x\nok\ntest b ... skipped: no y\nskipped: no y\n";
        assert_eq!(remarks(said), ["elsewhere: no WireGuard here; machine test x", "skipped: no y"]);
        let unable = "test a ... ok\ntest b ... skipped: no database is installed\nok\ntest result: ok. 2 passed; 0 failed; 0 ignored\n";
        assert_eq!(
            count(unable),
            Tally {
                passed: 1,
                failed: 0,
                skipped: 1
            }
        );
    }
}
