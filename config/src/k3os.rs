//! The configuration in k3OS's own words, as `k3os config --dump-json` printed it.

use crate::{Config, Install, Secret, WriteFile};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CloudConfig<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ssh_authorized_keys: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    write_files: &'a [WriteFile],
    #[serde(skip_serializing_if = "str::is_empty")]
    hostname: &'a str,
    k3os: K3os<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    run_cmd: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    boot_cmd: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    init_cmd: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct K3os<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    data_sources: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    modules: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sysctls: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ntp_servers: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dns_nameservers: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wifi: Vec<Wifi<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    password: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    server_url: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    token: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    k3s_args: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    environment: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    taints: &'a [String],
    install: InstallBlock<'a>,
}

#[derive(Serialize)]
struct Wifi<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    passphrase: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, reason = "these are k3OS's keys")]
struct InstallBlock<'a> {
    #[serde(skip_serializing_if = "is_false")]
    force_efi: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    device: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    config_url: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    silent: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    iso_url: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    power_off: bool,
    #[serde(skip_serializing_if = "is_false")]
    no_format: bool,
    #[serde(skip_serializing_if = "is_false")]
    debug: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    tty: &'a str,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Config {
    /// The configuration as one line of JSON with k3OS's names, in k3OS's order; secrets included. What k3OS had no name for is not in
    /// it.
    pub fn to_k3os_json(&self) -> Result<String, serde_json::Error> {
        let skerry = &self.skerry;
        let secret = |secret: &'_ Option<Secret<String>>| secret.as_ref().map_or("", |Secret(text)| text.as_str()).to_owned();
        let (password, token) = (secret(&skerry.password), secret(&skerry.token));
        let install = install(&skerry.install);
        serde_json::to_string(&CloudConfig {
            ssh_authorized_keys: &self.ssh_authorized_keys,
            write_files: &self.write_files,
            hostname: self.hostname.as_deref().unwrap_or_default(),
            k3os: K3os {
                data_sources: &skerry.data_sources,
                modules: &skerry.modules,
                sysctls: &skerry.sysctls,
                ntp_servers: &skerry.ntp_servers,
                dns_nameservers: &skerry.dns_nameservers,
                wifi: skerry
                    .wifi
                    .iter()
                    .map(|wifi| Wifi {
                        name: &wifi.name,
                        passphrase: &wifi.passphrase.0,
                    })
                    .collect(),
                password: &password,
                server_url: skerry.server_url.as_deref().unwrap_or_default(),
                token: &token,
                labels: &skerry.labels,
                k3s_args: &skerry.k3s_args,
                environment: &skerry.environment,
                taints: &skerry.taints,
                install,
            },
            run_cmd: &self.run_cmd,
            boot_cmd: &self.boot_cmd,
            init_cmd: &self.init_cmd,
        })
    }
}

fn install(install: &Install) -> InstallBlock<'_> {
    fn text(text: Option<&String>) -> &str {
        text.map_or("", String::as_str)
    }
    InstallBlock {
        force_efi: install.force_efi,
        device: text(install.device.as_ref()),
        config_url: text(install.config_url.as_ref()),
        silent: install.silent,
        iso_url: text(install.iso_url.as_ref()),
        power_off: install.power_off,
        no_format: install.no_format,
        debug: install.debug,
        tty: text(install.tty.as_ref()),
    }
}
