//! A kernel of 35 bytes: it writes its command line to the serial line, and stays.

/// What GRUB takes for Linux on BIOS and UEFI (Linux, Documentation/arch/x86/boot.rst): two sectors of setup, then what runs.
pub fn kernel() -> Vec<u8> {
    let mut image = vec![0; 1024];
    let fields: [(usize, &[u8]); 12] = [
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
    for (at, bytes) in fields {
        image.splice(at..at + bytes.len(), bytes.iter().copied());
    }
    image.extend(CODE);
    image.resize(1024 + 512, 0);
    image
}

/// 32-bit code; esi points to the boot parameters.
const CODE: [u8; 34] = [
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
