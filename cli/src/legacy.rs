//! `k3os …`: k3OS's words, said in ours.

/// The same words for `skerry`; or why there is nothing to say.
pub fn translate(args: &[String]) -> Result<Vec<String>, String> {
    let words: Vec<&str> = args.iter().map(String::as_str).filter(|a| *a != "--debug").collect();
    let own = |line: &str| Ok(line.split(' ').map(str::to_owned).collect());
    match words.as_slice() {
        ["config" | "cfg", "--dump"] => own("config dump"),
        ["config" | "cfg", "--dump-json"] => own("config dump --as k3os"),
        ["config" | "cfg"] => {
            Err("the configuration is applied at each boot; `skerry config check` and `skerry reboot` apply a new one".to_owned())
        }
        ["config" | "cfg", flag @ ("--initrd" | "--boot" | "--install")] => Err(format!(
            "config {flag}: PID 1 runs each phase by itself; `skerry services` shows them"
        )),
        ["rc", ..] => Err("rc: PID 1 does this by itself; `skerry services` shows each step".to_owned()),
        ["install"] => own("install"),
        ["upgrade", ..] => Err("upgrade: kernel and root move together here: skerry upgrade --from FOLDER".to_owned()),
        _ => Ok(args.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k3os_words() {
        let t = |line: &str| translate(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            t("config --dump-json"),
            Ok(["config", "dump", "--as", "k3os"].map(str::to_owned).to_vec())
        );
        assert_eq!(t("--debug cfg --dump"), Ok(["config", "dump"].map(str::to_owned).to_vec()));
        assert_eq!(t("status --json"), Ok(["status", "--json"].map(str::to_owned).to_vec()));
        assert_eq!(t("--debug install"), Ok(vec!["install".to_owned()]));
        for refused in ["config", "config --boot", "rc", "upgrade --rootfs"] {
            assert!(t(refused).is_err(), "{refused}");
        }
    }
}
