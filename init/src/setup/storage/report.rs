//! What became of the data: `/run/skerry/storage.json`, and the lines on the console.

use serde::Serialize;
use skerry_sys::file;

/// Read by the other helpers, `skerry status` and support.
pub const PATH: &str = "/run/skerry/storage.json";

/// Whether this boot's storage step found the data and mounted it.
pub fn is_on_disk() -> bool {
    let text = file::read_text(PATH, 1 << 16).unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    report.get("mode").and_then(|mode| mode.as_str()) == Some("disk")
}

/// Where the state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// On the data partition.
    Disk,
    /// In memory, because there is no data partition or because it was asked for.
    Live,
    /// In memory, because the data partition cannot be used.
    Degraded,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where the state is.
    pub mode: Mode,
    /// The data's device, if one was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Why it is so; for a disk what the check found.
    pub why: String,
    /// What was not done, each with its reason.
    pub problems: Vec<String>,
}

impl Report {
    /// Whether what is written now is there at the next boot.
    pub fn is_on_disk(&self) -> bool {
        self.mode == Mode::Disk
    }

    /// What the console says at the end; nothing when all is as usual.
    pub fn headline(&self) -> Vec<String> {
        let device = self.device.as_deref().unwrap_or("the data partition");
        match self.mode {
            Mode::Disk => vec![],
            Mode::Live => vec![format!("state is in memory and gone at the next boot: {}", self.why)],
            Mode::Degraded => vec![
                format!("DEGRADED: {device} is not used: {}", self.why),
                "DEGRADED: state is in memory and gone at the next boot; nothing was formatted or deleted".to_owned(),
            ],
        }
    }

    /// Writes it where the others look.
    pub fn write(&self) -> anyhow::Result<()> {
        file::make_dir("/run/skerry", 0o755)?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(file::replace(PATH, text.as_bytes(), 0o644)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_as_others_read_it() {
        let report = Report {
            mode: Mode::Degraded,
            device: Some("/dev/vdb".into()),
            why: "no".into(),
            problems: vec![],
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(text, r#"{"mode":"degraded","device":"/dev/vdb","why":"no","problems":[]}"#);
        assert!(report.headline()[0].contains("/dev/vdb"));
    }

    #[test]
    fn a_usual_boot_says_nothing() {
        let report = Report {
            mode: Mode::Disk,
            device: Some("/dev/vdb".into()),
            why: "clean".into(),
            problems: vec![],
        };
        assert!(report.headline().is_empty());
    }
}
