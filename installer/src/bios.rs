//! Sector 0, and GRUB's core image for machines that boot by BIOS: what `grub-bios-setup` does, as pure data.
//!
//! Offsets from GRUB 2.12's `include/grub/i386/pc/boot.h` and `grub-core/boot/i386/pc/{boot,diskboot}.S`.

use skerry_sys::gpt::SECTOR;

/// The part of sector 0 that is code.
pub(crate) const CODE: usize = 0x1B8;
/// `GRUB_BOOT_MACHINE_KERNEL_SECTOR`: where the code finds the core image's first sector.
const KERNEL_SECTOR: usize = 0x5C;
/// `GRUB_BOOT_MACHINE_BOOT_DRIVE`: 0xFF is the drive that the BIOS booted.
const BOOT_DRIVE: usize = 0x64;
/// `GRUB_BOOT_MACHINE_DRIVE_CHECK`: two bytes of jump, made two of nothing, so that the drive's number is taken as it is.
const DRIVE_CHECK: usize = 0x66;
/// `GRUB_DISK_DEVICE`'s last block list entry, in the core image's first sector: sector (8 bytes), length (2), segment (2).
const BLOCK_LIST: usize = 0x1F4;
/// Where the rest of the core image is loaded: 0x8200.
const SEGMENT: u16 = 0x820;

/// Why it cannot be embedded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Wrong {
    /// Not a sector of code.
    #[error("mbr.img is {0} bytes long, and not the 512 of GRUB's boot.img")]
    Code(usize),
    /// Not a core image, or one for other media.
    #[error("core.img is no core image of GRUB for disks: {0}")]
    Core(&'static str),
    /// It is longer than its partition.
    #[error("core.img has {bytes} bytes, and its partition {room}")]
    TooLong {
        /// Its length.
        bytes: u64,
        /// The partition's.
        room: u64,
    },
}

/// The core image, made ready for the place in which it will be, filled to whole sectors. `at` and `room` in bytes.
pub fn core(image: &[u8], at: u64, room: u64) -> Result<Vec<u8>, Wrong> {
    let mut core = image.to_vec();
    core.resize(core.len().next_multiple_of(512), 0);
    let bytes = core.len() as u64;
    if bytes > room {
        return Err(Wrong::TooLong { bytes, room });
    }
    let rest = u16::try_from(bytes / SECTOR).ok().and_then(|n| n.checked_sub(1)).filter(|n| *n > 0);
    let rest = rest.ok_or(Wrong::Core("its length"))?;
    let list = core.get_mut(BLOCK_LIST..BLOCK_LIST + 12).ok_or(Wrong::Core("its length"))?;
    let segment = list.get(10..).map(<[u8]>::to_vec);
    if segment != Some(SEGMENT.to_le_bytes().to_vec()) {
        return Err(Wrong::Core("its first sector is not diskboot.img"));
    }
    let entry = [
        (at / SECTOR + 1).to_le_bytes().as_slice(),
        &rest.to_le_bytes(),
        &SEGMENT.to_le_bytes(),
    ]
    .concat();
    list.copy_from_slice(&entry);
    Ok(core)
}

/// Sector 0: a protective MBR for a disk of `sectors`, with the boot code if there is any. `core_at` in bytes.
///
/// Both kinds of firmware look here first (UEFI trusts a GPT only if sector 0 protects it): it is what makes a disk bootable.
pub fn sector_0(code: Option<(&[u8], u64)>, sectors: u64) -> Result<Vec<u8>, Wrong> {
    let mut sector = vec![0; 512];
    if let Some((code, core_at)) = code {
        if code.len() != 512 {
            return Err(Wrong::Code(code.len()));
        }
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = sector.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(0, code.get(..CODE).unwrap_or_default());
        put(KERNEL_SECTOR, &(core_at / SECTOR).to_le_bytes());
        put(BOOT_DRIVE, &[0xFF]);
        put(DRIVE_CHECK, &[0x90, 0x90]);
    }
    // UEFI specification, table 5.4: one partition of type EE from sector 1 to the end.
    let length = u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes();
    let protective = [&[0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0], length.as_slice()].concat();
    if let Some(place) = sector.get_mut(0x1BE..0x1CE) {
        place.copy_from_slice(&protective);
    }
    if let Some(place) = sector.get_mut(510..) {
        place.copy_from_slice(&[0x55, 0xAA]);
    }
    Ok(sector)
}

/// Where sector 0 finds the core image, in bytes.
pub fn core_at(sector_0: &[u8]) -> Option<u64> {
    let sector = sector_0.get(KERNEL_SECTOR..KERNEL_SECTOR + 8)?.try_into().ok()?;
    u64::from_le_bytes(sector).checked_mul(SECTOR)
}

/// How long the core image at `at` is, in bytes, by the list in its first sector; none if it is not one of [`core`]'s.
pub fn core_bytes(first: &[u8], at: u64) -> Option<u64> {
    let list = first.get(BLOCK_LIST..BLOCK_LIST + 12)?;
    let rest = u64::from_le_bytes(list.get(..8)?.try_into().ok()?);
    let length = u16::from_le_bytes(list.get(8..10)?.try_into().ok()?);
    let segment = u16::from_le_bytes(list.get(10..)?.try_into().ok()?);
    (rest == at / SECTOR + 1 && length > 0 && segment == SEGMENT).then(|| (u64::from(length) + 1) * SECTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(sectors: usize) -> Vec<u8> {
        let mut image = vec![0xAB; sectors * 512 - 100];
        image[BLOCK_LIST..BLOCK_LIST + 12].copy_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 8]);
        image
    }

    /// The bytes that the prototype (which `SeaBIOS` booted) patches, after what `grub-bios-setup` does.
    #[test]
    fn the_core_knows_where_its_rest_is() {
        let made = core(&image(4), 1 << 20, 1 << 20).unwrap();
        assert_eq!(made.len(), 4 * 512);
        assert_eq!(made[BLOCK_LIST..512], [0x01, 0x08, 0, 0, 0, 0, 0, 0, 3, 0, 0x20, 8]);
        assert_eq!(made[..BLOCK_LIST], image(4)[..BLOCK_LIST]);
        assert_eq!((core_bytes(&made, 1 << 20), core_bytes(&made, 2 << 20)), (Some(2048), None));
        assert_eq!(core_bytes(&made[..500], 1 << 20), None);
    }

    #[test]
    fn sector_0_has_code_and_protects() {
        let made = sector_0(Some((&[0xCC; 512], 1 << 20)), 1 << 23).unwrap();
        assert_eq!(made[KERNEL_SECTOR..KERNEL_SECTOR + 8], [0, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(core_at(&made), Some(1 << 20));
        assert_eq!(
            (made[BOOT_DRIVE], &made[DRIVE_CHECK..DRIVE_CHECK + 2]),
            (0xFF, [0x90; 2].as_slice())
        );
        assert_eq!((made[CODE - 1], made[CODE]), (0xCC, 0));
        assert_eq!(
            made[0x1BE..0x1CE],
            [0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0xFF, 0xFF, 0x7F, 0]
        );
        assert_eq!(made[510..], [0x55, 0xAA]);
        let huge = sector_0(None, 1 << 40).unwrap();
        assert_eq!((huge[..440].iter().max(), &huge[0x1CA..0x1CE]), (Some(&0), [0xFF; 4].as_slice()));
    }

    #[test]
    fn what_is_no_core_image_is_refused() {
        assert!(matches!(core(&[0; 4096], 0, 4096), Err(Wrong::Core(_))));
        assert!(matches!(core(&[], 0, 4096), Err(Wrong::Core(_))));
        assert!(matches!(core(&image(4)[..100], 0, 4096), Err(Wrong::Core(_))));
        assert_eq!(
            core(&image(9), 0, 4096),
            Err(Wrong::TooLong {
                bytes: 9 * 512,
                room: 4096
            })
        );
        assert_eq!(sector_0(Some((&[0; 511], 0)), 99), Err(Wrong::Code(511)));
    }
}
