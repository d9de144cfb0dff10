//! What is `/` made of?
//!
//! Rules only: no files, mounts or processes. `/` is the release's verified, read-only image. What may change lies in one tree, the
//! *state*, on the data partition (or in memory, in live mode), and is laid over the image by binds:
//!
//! ```text
//!  /            the image, read-only, verified
//!  /etc         overlayfs: the image's, under a tmpfs that is new at each boot
//!  /run /tmp    tmpfs
//!  /skerry      the state; version, system/, k3os/, var/, home/, etc/…
//!  /var /home…  binds from the state, as the table says
//! ```
//!
//! [`table::ROWS`] is the one table of what persists, with a reason a row; [`plan::plan`] turns it into steps. What is not in the
//! table is gone at the next boot.

pub mod plan;
pub mod reset;
pub mod table;
pub mod version;

/// Where the state is mounted.
pub const STATE: &str = "/skerry";
/// The file system label of the data partition.
pub const LABEL: &str = "SKERRY_STATE";
/// How the state is mounted when it is on a disk.
///
/// `noatime` and `commit=30` spare flash. `errors=remount-ro`: a damaged file system is not written to. `resuid`: the blocks that ext4
/// keeps back (5 % by default) are for uid 0 unless somebody else is named, and root in a container is uid 0 too. Named is a uid that
/// nobody has, so that only `CAP_SYS_RESOURCE` opens them: our services have it, containers do not, and a pod that fills the disk
/// leaves room for the datastore.
pub const MOUNT_OPTIONS: &str = "commit=30,errors=remount-ro,resuid=4294967294";
/// A file of [`RESERVE_BYTES`] in the state, of no content. Root on the host can use the kept-back blocks and fill the disk to the last
/// byte; then this file is given up, so that the machine comes up and the datastore writes while somebody makes room.
pub const RESERVE: &str = "reserve";
/// How large [`RESERVE`] is.
pub const RESERVE_BYTES: u64 = 64 << 20;
/// With less than this that can be had, the reserve is given up. It is made (again) only when four times its size would be left.
pub const RESERVE_NEEDED_BELOW: u64 = 16 << 20;
