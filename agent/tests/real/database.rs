//! A database of Debian's on this machine, in a directory of its own, with a password.

use super::cluster::free_port;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PASSWORD: &str = "a-password-of-a-test";
/// PostgreSQL does not run as root: `nobody`.
const NOBODY: u32 = 65534;

pub struct Database {
    argv: Vec<String>,
    endpoint: String,
    port: u16,
    user: Option<u32>,
    log: PathBuf,
    running: Child,
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

impl Database {
    /// None where it is not installed.
    pub fn postgresql(dir: &Path) -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let bin = versions
            .filter_map(|v| Some(v.ok()?.path().join("bin")))
            .find(|b| b.join("initdb").exists())?;
        let user = rustix::process::geteuid().is_root().then_some(NOBODY);
        let data = fresh(dir, user);
        let password = data.with_extension("password");
        std::fs::write(&password, PASSWORD).unwrap();
        if let Some(id) = user {
            chown(&password, Some(id), Some(id)).unwrap();
        }
        let argv = [
            bin.join("initdb").display().to_string(),
            format!("--pgdata={}", data.display()),
            "--username=kine".into(),
            "--auth=scram-sha-256".into(),
            format!("--pwfile={}", password.display()),
        ];
        finishes(&argv, user);
        let port = free_port();
        let postgres = [
            bin.join("postgres").display().to_string(),
            "-D".into(),
            data.display().to_string(),
            "-h".into(),
            "127.0.0.1".into(),
            "-p".into(),
            port.to_string(),
            "-k".into(),
            data.display().to_string(),
        ];
        let endpoint = format!("postgres://kine:{PASSWORD}@127.0.0.1:{port}/kine?sslmode=disable");
        Some(Self::start(postgres.to_vec(), endpoint, port, user, dir))
    }

    /// None where it is not installed.
    pub fn mariadb(dir: &Path) -> Option<Self> {
        let found = |paths: &[&str]| paths.iter().find(|p| Path::new(p).exists()).map(|p| (*p).to_owned());
        let server = found(&["/usr/sbin/mariadbd"])?;
        let install = found(&["/usr/bin/mariadb-install-db"])?;
        found(&["/usr/bin/my_print_defaults"])?;
        let data = fresh(dir, None);
        let owner = if rustix::process::geteuid().is_root() {
            vec!["--user=root".to_owned()]
        } else {
            vec![]
        };
        let folder = format!("--datadir={}", data.display());
        let argv = vec![
            install,
            "--no-defaults".into(),
            folder.clone(),
            "--auth-root-authentication-method=normal".into(),
        ];
        finishes(&[argv, owner.clone()].concat(), None);
        let first = data.with_extension("sql");
        let words =
            format!("CREATE USER IF NOT EXISTS kine@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON kine.* TO kine@'127.0.0.1';");
        std::fs::write(&first, words.replace("; ", ";\n")).unwrap();
        let port = free_port();
        let argv = vec![
            server,
            "--no-defaults".into(),
            folder,
            "--bind-address=127.0.0.1".into(),
            format!("--port={port}"),
            format!("--socket={}/socket", data.display()),
            format!("--init-file={}", first.display()),
        ];
        let endpoint = format!("mysql://kine:{PASSWORD}@tcp(127.0.0.1:{port})/kine");
        Some(Self::start([argv, owner].concat(), endpoint, port, None, dir))
    }

    fn start(argv: Vec<String>, endpoint: String, port: u16, user: Option<u32>, dir: &Path) -> Self {
        let log = dir.join("database.log");
        let running = begin(&argv, user, &log);
        let mut database = Self {
            argv,
            endpoint,
            port,
            user,
            log,
            running,
        };
        database.answers();
        database
    }

    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// As a power cut would; then it is there again.
    pub fn cut(&mut self) {
        self.running.kill().unwrap();
        self.running.wait().unwrap();
        // PostgreSQL's own children notice a moment later, and hold its memory until then.
        let begun = Instant::now();
        loop {
            self.running = begin(&self.argv, self.user, &self.log);
            if self.is_up() {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "it does not start again: {}",
                self.said()
            );
        }
    }

    fn answers(&mut self) {
        assert!(self.is_up(), "the database does not start: {}", self.said());
    }

    /// Waits until it takes calls; false if it ended.
    fn is_up(&mut self) -> bool {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if self.running.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "the database takes no calls: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        true
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// An empty folder for its data.
fn fresh(dir: &Path, user: Option<u32>) -> PathBuf {
    let _ = std::fs::remove_dir_all(dir);
    let data = dir.join("data");
    std::fs::create_dir_all(&data).unwrap();
    if let Some(id) = user {
        chown(&data, Some(id), Some(id)).unwrap();
    }
    data
}

fn command(argv: &[String], user: Option<u32>) -> Command {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null());
    if let Some(id) = user {
        command.uid(id).gid(id);
    }
    command
}

fn finishes(argv: &[String], user: Option<u32>) {
    let out = command(argv, user).output().unwrap();
    assert!(
        out.status.success(),
        "{}: {}{}",
        argv[0],
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

fn begin(argv: &[String], user: Option<u32>, log: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    command(argv, user).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}
