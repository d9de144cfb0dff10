//! A read-only device whose every read is checked: dm-verity by the device mapper's own calls.
