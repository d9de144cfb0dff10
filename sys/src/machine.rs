//! The machine as a whole: host name, clock, reboot, watchdog.
