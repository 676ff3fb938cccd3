// A UEFI application for aarch64: says "vireo: aarch64" on the console, and halts. See uefi.s. The PE header is written by hand: the linker makes none.
    .text
base:
    .ascii "MZ"
    .zero 58
    .long pe - base
pe: .ascii "PE\0\0"
    .short 0xaa64, 1            // machine, sections
    .long 0, 0, 0
    .short section - optional, 0x206
optional:
    .short 0x20b
    .byte 1, 0
    .long end - start, 0, 0     // sizes of code, data, bss
    .long start - base, start - base
    .quad 0                     // image base
    .long 0x1000, 0x200         // alignment in memory, in the file
    .short 0, 0, 0, 0, 0, 0
    .long 0
    .long 0x2000, 0x1000        // sizes of the image, the headers
    .long 0
    .short 10, 0                // EFI application
    .quad 0, 0, 0, 0
    .long 0, 6
    .quad 0, 0, 0, 0, 0, 0
section:
    .ascii ".text\0\0\0"
    .long end - start, start - base, end - start, start - base
    .long 0, 0
    .short 0, 0
    .long 0xe0000020
    .balign 4096
start:
    stp x29, x30, [sp, #-16]!
    ldr x0, [x1, #64]           // ConOut
    adr x1, text
    ldr x2, [x0, #8]            // OutputString
    blr x2
1:  wfi
    b 1b
text:
    .hword 'v', 'i', 'r', 'e', 'o', ':', ' ', 'a', 'a', 'r', 'c', 'h', '6', '4', 13, 10, 0
    .balign 512
end:
