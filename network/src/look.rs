//! Looking: facts from netlink, and from `/sys` and `/proc` what netlink does not say.

use crate::facts::{Facts, Link};
use crate::netlink::Netlink;
use skerry_sys::file::read_text;
use std::path::Path;

/// Looks once at everything.
pub fn look(netlink: &mut Netlink) -> skerry_sys::Result<Facts> {
    let mut links = netlink.links()?;
    for (index, address) in netlink.addresses()? {
        if let Some(link) = links.iter_mut().find(|link| link.index == index) {
            link.addresses.push(address);
        }
    }
    links.iter_mut().for_each(describe);
    links.sort_by_key(|link| link.index);
    Ok(Facts {
        links,
        routes: netlink.routes()?,
        rules: netlink.rules()?,
    })
}

/// Adds what the device says about itself.
pub fn describe(link: &mut Link) {
    let class = Path::new("/sys/class/net").join(&link.name);
    let device = class.join("device");
    link.hardware = device.exists();
    link.wireless = class.join("phy80211").exists() || class.join("wireless").exists();
    if link.hardware {
        let last = |path: &Path| std::fs::read_link(path).ok()?.file_name()?.to_str().map(str::to_owned);
        link.driver = last(&device.join("driver")).or_else(|| parent_driver(&device));
        link.path = std::fs::canonicalize(&device)
            .ok()
            .and_then(|path| Some(path.strip_prefix("/sys/devices").ok()?.to_str()?.to_owned()));
    }
    let setting = Path::new("/proc/sys/net/ipv6/conf").join(&link.name).join("accept_ra");
    link.accept_ra = read_text(setting, 16).ok().and_then(|text| text.trim().parse().ok());
}

/// A USB network function's driver is its interface's; some buses put a nameless device between.
fn parent_driver(device: &Path) -> Option<String> {
    let parent = std::fs::canonicalize(device).ok()?.parent()?.join("driver");
    std::fs::read_link(parent).ok()?.file_name()?.to_str().map(str::to_owned)
}

/// This machine's name for DHCP servers' tables; none as long as it has none of its own.
pub fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    let label = name.split('.').next()?;
    let valid = !label.is_empty() && label != "localhost" && label != "(none)" && crate::dhcp::options::is_domain(label);
    valid.then(|| label.to_owned())
}
