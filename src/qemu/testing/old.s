# A boot sector for machines of before PCI: says on COM1 what it finds, then halts. The sector behind it holds "disk\0".
#   "vireo: isa" (or "pci"), then the text of sector 2 as the BIOS reads it, "ne2k" (at 0x300), "cirrus"; then "end".
    .intel_syntax noprefix
    .code16
    .globl _start
_start:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    mov si, offset hello
    call say
    push dx
    mov dx, 0xcf8               # the address port of PCI reads back what was written
    mov eax, 0x80000000
    out dx, eax
    in eax, dx
    pop dx
    mov si, offset isa
    cmp eax, 0x80000000
    jne 1f
    mov si, offset pci
1:  call say
    mov ax, 0x0201              # read 1 sector: cylinder 0, head 0, sector 2
    mov cx, 0x0002
    xor dh, dh
    mov bx, 0x7e00
    int 0x13
    jc 2f
    mov si, 0x7e00
    call say
2:  mov dx, 0x31f               # the reset port of an NE2000 at 0x300
    in al, dx
    out dx, al
    mov cx, 0xffff
3:  loop 3b
    mov dx, 0x307               # its interrupt status: reset
    in al, dx
    cmp al, 0xff
    je 4f
    test al, 0x80
    jz 4f
    mov si, offset ne2k
    call say
4:  mov dx, 0x3c4               # Cirrus: the lock of its extensions reads 0x12 when open, 0x0f when shut
    mov ax, 0x1206
    out dx, ax
    inc dx
    in al, dx
    cmp al, 0x12
    jne 5f
    mov si, offset cirrus
    call say
5:  mov si, offset end
    call say
6:  hlt
    jmp 6b

say:
    lodsb
    test al, al
    jz 8f
    mov ah, al
    push dx
    mov dx, 0x3fd
7:  in al, dx
    test al, 0x20
    jz 7b
    mov dx, 0x3f8
    mov al, ah
    out dx, al
    pop dx
    jmp say
8:  ret

hello: .asciz "vireo:"
isa: .asciz " isa"
pci: .asciz " pci"
ne2k: .asciz " ne2k"
cirrus: .asciz " cirrus"
end: .asciz " end\r\n"
    .org 510
    .word 0xaa55
    .asciz " disk"
    .org 1024
