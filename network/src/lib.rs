//! How does the node reach others?
//!
//! `netd` looks at the interfaces ([`facts`]), works out what they should be ([`wanted`], from the owner's `network:` section and the
//! leases that DHCP gave), compares ([`plan`]), and does the difference by netlink ([`netlink`]). Whatever changes, the same round
//! begins anew; there is no other path by which something gets onto an interface.
//!
//! ```text
//!  network.json ──► request ─┐
//!  netlink, /sys ──► facts ──┼──► wanted ──► plan ──► netlink ──► the kernel says what changed ──► facts …
//!  DHCP, DHCPv6 ──► leases ──┘       └─────► resolv.conf, time sources, firewall, network-state.json, READY=1
//! ```
//!
//! `wifid` is a program of its own beside it, so that `netd` holds no D-Bus: it tells `iwd` which Wi-Fi network to join ([`wifi`]),
//! and runs only where one is configured. To `netd` a radio is an interface whose carrier comes when a network was joined.
//!
//! Everything but [`netlink`], [`look`], [`dhcp::socket`], [`dhcp::store`], [`dhcp6::socket`], [`nft`], [`outputs`] and [`daemon`] is pure:
//! time and randomness are arguments.
//!
//! Never: touch an interface that nobody asked for (containers' veth, cni0, flannel.1, docker0 …); remove an address or a route that
//! somebody else put there (ours carry a mark, see [`facts::Owner`]); trust a DHCP server's bytes.

pub mod daemon;
pub mod device;
pub mod dhcp;
pub mod dhcp6;
pub mod facts;
pub mod firewall;
pub mod look;
pub mod names;
pub mod netlink;
pub mod nft;
pub mod outputs;
pub mod plan;
pub mod ready;
pub mod request;
pub mod rtnetlink;
pub mod state;
pub mod trial;
pub mod wanted;
pub mod wifi;
