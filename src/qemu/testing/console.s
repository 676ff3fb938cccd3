# Says "vireo: console" on COM1 and on the screen. Then echoes on both what comes in on COM1, and says "k" and the key on COM1 for each that is typed.
#   "~" counts a..z on COM1 until another byte comes in; "!" floods COM1 for ever.
    .intel_syntax noprefix
    .code16
    .globl _start
_start:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    sti
    cld
    mov ax, 3                   # text, 80 x 25
    int 0x10
    mov si, offset hello
1:  lodsb
    test al, al
    jz wait
    call say
    call show
    jmp 1b
wait:
    mov dx, 0x3fd               # line status: bit 0, something came in
    in al, dx
    test al, 1
    jz key
    mov dx, 0x3f8
    in al, dx
    cmp al, '~'
    je count
    cmp al, '!'
    je flood
    call say
    call show
    jmp wait
key:
    mov ah, 1
    int 0x16
    jz wait
    xor ah, ah
    int 0x16
    push ax
    mov al, 'k'
    call say
    pop ax
    call say
    call show
    jmp wait
count:
    mov bl, 'a'
2:  mov al, bl
    call say
    inc bl
    cmp bl, 'z' + 1
    jne 3f
    mov bl, 'a'
3:  mov cx, 0xffff
4:  loop 4b
    mov dx, 0x3fd
    in al, dx
    test al, 1
    jz 2b
    jmp wait
flood:                          # QEMU's port takes a byte at once
    mov dx, 0x3f8
    mov si, 0x7c00
    mov cx, 0x200
    rep outsb
    jmp flood
say:
    push dx
    push ax
6:  mov dx, 0x3fd               # bit 5: it can go out
    in al, dx
    test al, 0x20
    jz 6b
    pop ax
    mov dx, 0x3f8
    out dx, al
    pop dx
    ret
show:
    push bx
    push ax
    mov ah, 0xe
    mov bx, 7
    int 0x10
    pop ax
    pop bx
    ret
hello:
    .asciz "vireo: console\r\n"
    .org 510
    .word 0xaa55
