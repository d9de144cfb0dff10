//! The SSH server's settings: keys only, and never root.

use super::{Failures, Settings};

/// Written whole, and before `write_files` and `boot_cmd`, so that an owner's own file, or a `sed` on this one, counts.
const CONFIG: &str = "\
# Written by Skerry at each boot; replace it by write_files, or add to it in sshd_config.d.
Include /etc/ssh/sshd_config.d/*.conf
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UsePAM yes
AuthorizedKeysFile /etc/ssh/authorized_keys/%u .ssh/authorized_keys
# A node far away has no name server to ask who is calling.
UseDNS no
X11Forwarding no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
";

/// Writes them.
pub fn apply(s: &Settings) -> Failures {
    let results = [
        s.root.write_changed("/etc/ssh/sshd_config", CONFIG, 0o644),
        s.root.dir("/run/sshd", 0o755),
    ];
    results.into_iter().filter_map(Result::err).collect()
}
