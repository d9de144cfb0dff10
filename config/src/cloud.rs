//! Data sources: what they are called, and by what their machines are known.
//!
//! What a firmware says on which cloud is cloud-init's knowledge (tools/ds-identify) and the clouds' documentation. A source that is
//! named in `data_sources` is asked whatever the firmware says; one that is not named only where the firmware says so.

/// What the firmware says of the machine (`/sys/class/dmi/id/NAME`); empty = nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firmware {
    /// `sys_vendor`.
    pub vendor: String,
    /// `product_name`.
    pub product: String,
    /// `chassis_asset_tag`.
    pub asset_tag: String,
    /// `bios_vendor`.
    pub bios: String,
}

/// One data source.
#[derive(Debug, Clone, Copy)]
pub struct Cloud {
    /// Its name.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// Where it is asked.
    pub way: Way,
    is_here: fn(&Firmware) -> bool,
}

/// Where a source is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A server on the network.
    Http,
    /// A volume, which is looked at when the boot begins.
    Volume,
    /// The hypervisor, by a program of its own.
    Program,
}

const NO: fn(&Firmware) -> bool = |_| false;

const fn cloud(name: &'static str, aliases: &'static [&'static str], way: Way, is_here: fn(&Firmware) -> bool) -> Cloud {
    Cloud {
        name,
        aliases,
        way,
        is_here,
    }
}

/// All of them, in the order in which those that are not named are asked.
pub const CLOUDS: [Cloud; 13] = [
    cloud("aws", &["ec2"], Way::Http, |f| f.vendor == "Amazon EC2" || f.bios == "Amazon EC2"),
    cloud("gcp", &["gce", "google"], Way::Http, |f| f.product == "Google Compute Engine"),
    // The tag is on every Azure machine, and on no other machine of Microsoft's.
    cloud("azure", &[], Way::Http, |f| f.asset_tag == "7783-7084-3265-9085-8269-3286-77"),
    cloud("digitalocean", &[], Way::Http, |f| f.vendor == "DigitalOcean"),
    cloud("hetzner", &[], Way::Http, |f| f.vendor == "Hetzner"),
    cloud("vultr", &[], Way::Http, |f| f.vendor == "Vultr"),
    cloud("scaleway", &[], Way::Http, |f| f.vendor == "Scaleway"),
    cloud("openstack", &[], Way::Http, |f| {
        f.product == "OpenStack Nova"
            || f.product == "OpenStack Compute"
            || ["OpenTelekomCloud", "SAP CCloud VM", "HUAWEICLOUD"].contains(&f.asset_tag.as_str())
    }),
    cloud("packet", &["equinix", "equinixmetal"], Way::Http, NO),
    cloud("vmware", &[], Way::Program, |f| f.vendor == "VMware, Inc."),
    cloud("cdrom", &[], Way::Volume, NO),
    cloud("nocloud", &[], Way::Volume, NO),
    cloud("configdrive", &["config-drive"], Way::Volume, NO),
];

/// The source of this name.
pub fn find(name: &str) -> Option<&'static Cloud> {
    let is = |cloud: &&Cloud| cloud.name == name || cloud.aliases.contains(&name);
    CLOUDS.iter().find(is)
}

/// The path of `file=PATH`.
pub fn file(name: &str) -> Option<&str> {
    name.strip_prefix("file=").filter(|path| !path.is_empty())
}

/// What is to be asked after the network is up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Sources on the network or of the hypervisor, in the order in which they are asked.
    pub clouds: Vec<&'static str>,
    /// Files, asked last.
    pub files: Vec<String>,
    /// The owner named them.
    pub named: bool,
}

impl Wanted {
    /// Whether nobody is to be asked.
    pub fn is_empty(&self) -> bool {
        self.clouds.is_empty() && self.files.is_empty()
    }
}

/// What to ask: what is named, in k3OS's order (the network's in the order given, files last); else, on a machine that has no
/// configuration of its own, what the firmware says.
pub fn wanted(named: &[String], firmware: &Firmware, has_config: bool) -> Wanted {
    if named.is_empty() {
        let here = CLOUDS.iter().filter(|cloud| !has_config && (cloud.is_here)(firmware));
        return Wanted {
            clouds: here.map(|cloud| cloud.name).collect(),
            ..Wanted::default()
        };
    }
    let mut clouds: Vec<&'static str> = Vec::new();
    for cloud in named.iter().filter_map(|name| find(name)) {
        if cloud.way != Way::Volume && !clouds.contains(&cloud.name) {
            clouds.push(cloud.name);
        }
    }
    Wanted {
        clouds,
        files: named.iter().filter_map(|name| file(name)).map(str::to_owned).collect(),
        named: true,
    }
}

/// Whether `data_sources` names a volume: the owner wants seeds to count in every boot.
pub fn names_volume(named: &[String]) -> bool {
    named.iter().filter_map(|name| find(name)).any(|cloud| cloud.way == Way::Volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firmware(vendor: &str, product: &str, asset_tag: &str) -> Firmware {
        Firmware {
            vendor: vendor.into(),
            product: product.into(),
            asset_tag: asset_tag.into(),
            bios: String::new(),
        }
    }

    #[test]
    fn where_the_firmware_says_so_and_nothing_is_configured() {
        for (vendor, product, tag, expected) in [
            ("Amazon EC2", "t3.micro", "", &["aws"][..]),
            ("Google", "Google Compute Engine", "", &["gcp"]),
            (
                "Microsoft Corporation",
                "Virtual Machine",
                "7783-7084-3265-9085-8269-3286-77",
                &["azure"],
            ),
            ("Microsoft Corporation", "Virtual Machine", "", &[]),
            ("DigitalOcean", "Droplet", "", &["digitalocean"]),
            ("Hetzner", "vServer", "", &["hetzner"]),
            ("Vultr", "HFC", "", &["vultr"]),
            ("Scaleway", "SCW-DEV1-S", "", &["scaleway"]),
            ("OpenStack Foundation", "OpenStack Nova", "", &["openstack"]),
            ("T-Systems", "x", "OpenTelekomCloud", &["openstack"]),
            ("VMware, Inc.", "VMware7,1", "", &["vmware"]),
            ("QEMU", "Standard PC (Q35 + ICH9, 2009)", "", &[]),
            ("", "", "", &[]),
        ] {
            let firmware = firmware(vendor, product, tag);
            assert_eq!(wanted(&[], &firmware, false).clouds, expected, "{vendor} {product}");
            assert!(
                wanted(&[], &firmware, true).is_empty(),
                "a machine with a configuration asks nobody unasked"
            );
        }
    }

    #[test]
    fn what_is_named_is_asked_whatever_the_firmware_says() {
        let named = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(|s| (*s).to_owned()).collect();
            wanted(&list, &firmware("Amazon EC2", "", ""), true)
        };
        let asked = named(&["file=/data/x", "cdrom", "openstack", "ec2", "aws", "gcp", "nonsense", "file="]);
        assert_eq!(asked.clouds, ["openstack", "aws", "gcp"]);
        assert_eq!(asked.files, ["/data/x"]);
        assert!(asked.named && named(&["cdrom"]).is_empty());
        assert!(names_volume(&["cdrom".to_owned()]) && !names_volume(&["aws".to_owned()]));
    }

    /// k3OS's own names, in the order in which its documentation lists them.
    #[test]
    fn every_name_that_k3os_took_is_taken() {
        for name in [
            "aws",
            "cdrom",
            "digitalocean",
            "gcp",
            "hetzner",
            "openstack",
            "packet",
            "scaleway",
            "vultr",
        ] {
            assert_eq!(find(name).map(|cloud| cloud.name), Some(name));
        }
        for cloud in &CLOUDS {
            assert!(
                cloud
                    .aliases
                    .iter()
                    .all(|alias| find(alias).is_some_and(|found| found.name == cloud.name))
            );
        }
    }
}
