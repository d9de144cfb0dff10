//! A disk that tells before its first write: from then on, stopping means something else.

use skerry_installer::device::Device;
use std::io;

/// Such a disk.
pub struct Watched<'a> {
    disk: &'a mut dyn Device,
    before: Option<Box<dyn FnOnce() + 'a>>,
}

impl<'a> Watched<'a> {
    /// `before` is done before the first write, and once.
    pub fn new(disk: &'a mut dyn Device, before: impl FnOnce() + 'a) -> Self {
        Self {
            disk,
            before: Some(Box::new(before)),
        }
    }

    /// Whether something was written, or tried to be.
    pub fn is_touched(&self) -> bool {
        self.before.is_none()
    }
}

impl Device for Watched<'_> {
    fn bytes(&self) -> u64 {
        self.disk.bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.disk.sector_bytes()
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(at, into)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(before) = self.before.take() {
            before();
        }
        self.disk.write_at(at, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush()
    }

    fn forget(&mut self) -> io::Result<()> {
        self.disk.forget()
    }
}
