//! Which block devices are there, and what is on them?
