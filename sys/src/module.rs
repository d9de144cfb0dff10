//! Kernel modules: by name, by alias, for the hardware that is there.
