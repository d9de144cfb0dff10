//! A very small kernel: it writes its command line to the serial line, and stays. As Linux, it is a bzImage for BIOS and a program
//! for UEFI in one file.

/// Setup of two sectors, then what runs (Linux, Documentation/arch/x86/boot.rst); in the first sector a PE header (Microsoft, PE
/// Format), whose image version tells GRUB that the initramfs is asked for by a protocol.
pub fn kernel() -> Vec<u8> {
    let mut image = vec![0; SETUP];
    for (at, bytes) in LINUX.iter().chain(&PE) {
        image.splice(*at..at + bytes.len(), bytes.iter().copied());
    }
    image.extend(BIOS);
    image.resize(SETUP + EFI_AT, 0);
    image.extend(EFI);
    image.resize(SETUP + 512, 0);
    image
}

const SETUP: usize = 1024;
/// Where the UEFI code is, behind [`SETUP`].
const EFI_AT: usize = 0x80;

/// Bytes at offsets.
type Fields<const N: usize> = [(usize, &'static [u8]); N];

const LINUX: Fields<12> = [
    (0x1f1, &[1]),                      // sectors of setup behind the first
    (0x1f4, &[32, 0, 0, 0]),            // the length of what runs, in 16 bytes
    (0x1fe, &[0x55, 0xaa]),             // the mark of a boot sector
    (0x200, &[0xeb, 0x66]),             // a jump over this header
    (0x202, b"HdrS\x0a\x02"),           // the header's mark, and its version: 2.10
    (0x211, &[1]),                      // to be loaded high
    (0x214, &[0, 0, 0x10, 0]),          // where to
    (0x22c, &[0xff, 0xff, 0xff, 0x37]), // the initramfs may lie below
    (0x230, &[0, 0, 0x20, 0, 1, 21]),   // alignment; may lie elsewhere
    (0x238, &[0xff, 7, 0, 0]),          // the longest command line
    (0x258, &[0, 0, 0, 1, 0, 0, 0, 0]), // where it would like to lie
    (0x260, &[0, 0, 1, 0]),             // the memory it needs
];

const PE: Fields<21> = [
    (0, b"MZ"),
    (0x3c, &[0x40]),               // where the PE header is
    (0x40, b"PE\0\0\x64\x86\x01"), // for x86-64; one section
    (0x54, &[0xa0, 0, 0x06, 2]),   // the length of the optional header; a program
    (0x58, &[0x0b, 2]),            // PE32+
    (0x5c, &[0, 2]),               // the length of code
    (0x68, &[0x80, 0x10]),         // the entry
    (0x6c, &[0, 0x10]),            // where code is in memory
    (0x78, &[0, 0x10]),            // alignment in memory
    (0x7c, &[0, 2]),               // alignment in the file
    (0x84, &[3]),                  // the image's version: Linux's stub
    (0x90, &[0, 0x20]),            // the length in memory
    (0x94, &[0, 4]),               // the length of headers
    (0x9c, &[10]),                 // a UEFI application
    (0xc4, &[6]),                  // data directories, all empty
    (0xf8, b".text"),
    (0x100, &[0, 2]),             // its length
    (0x104, &[0, 0x10]),          // its place in memory
    (0x108, &[0, 2]),             // its length in the file
    (0x10c, &[0, 4]),             // its place in the file
    (0x11c, &[0x20, 0, 0, 0x60]), // code that may be run and read
];

/// 32-bit code for BIOS; esi points to the boot parameters.
const BIOS: [u8; 34] = [
    0x8b, 0x9e, 0x28, 0x02, 0x00, 0x00, //     mov ebx, [esi + 0x228]  the command line
    0x8a, 0x0b, //                       next: mov cl, [ebx]
    0x84, 0xc9, //                             test cl, cl
    0x74, 0x13, //                             jz stay
    0x66, 0xba, 0xfd, 0x03, //           wait: mov dx, 0x3fd           the line's status
    0xec, //                                   in al, dx
    0xa8, 0x20, //                             test al, 0x20           room for a byte
    0x74, 0xf7, //                             jz wait
    0x66, 0xba, 0xf8, 0x03, //                 mov dx, 0x3f8           its data
    0x88, 0xc8, //                             mov al, cl
    0xee, //                                   out dx, al
    0x43, //                                   inc ebx
    0xeb, 0xe7, //                             jmp next
    0xf4, //                             stay: hlt
    0xeb, 0xfd, //                             jmp stay
];

/// 64-bit code for UEFI: rcx is our handle, rdx the system table.
const EFI: [u8; 90] = [
    0x48, 0x83, 0xec, 0x38, // sub rsp, 0x38
    0x48, 0x8b, 0x42, 0x60, // mov rax, [rdx + 0x60]         the boot services
    0x48, 0x8d, 0x15, 0x3b, 0x00, 0x00, 0x00, // lea rdx, [guid]
    0x4c, 0x8d, 0x44, 0x24, 0x28, // lea r8, [rsp + 0x28]
    0xff, 0x90, 0x98, 0x00, 0x00, 0x00, // call [rax + 0x98]             HandleProtocol: our loaded image
    0x48, 0x8b, 0x44, 0x24, 0x28, // mov rax, [rsp + 0x28]
    0x48, 0x8b, 0x58, 0x38, // mov rbx, [rax + 0x38]         the command line, in UTF-16
    0x8b, 0x70, 0x30, // mov esi, [rax + 0x30]         its length in bytes
    0x83, 0xee, 0x02, // next: sub esi, 2
    0x78, 0x1c, // js stay
    0x8a, 0x0b, // mov cl, [rbx]
    0x48, 0x83, 0xc3, 0x02, // add rbx, 2
    0x84, 0xc9, // test cl, cl
    0x74, 0x12, // jz stay
    0x66, 0xba, 0xfd, 0x03, // wait: mov dx, 0x3fd
    0xec, // in al, dx
    0xa8, 0x20, // test al, 0x20
    0x74, 0xf7, // jz wait
    0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0x88, 0xc8, // mov al, cl
    0xee, // out dx, al
    0xeb, 0xdf, // jmp next
    0xf4, // stay: hlt
    0xeb, 0xfd, // jmp stay
    0xa1, 0x31, 0x1b, 0x5b, 0x62, 0x95, 0xd2, 0x11, 0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b, // guid: EFI_LOADED_IMAGE_PROTOCOL
];
