//! Where PID 1 speaks: the console and the kernel's log.
