# A UEFI application: counts its starts in a variable of the firmware, says "vireo: starts N" (N: one digit) on the console, and halts.
# Microsoft's calling convention: rcx, rdx, r8, r9, then the stack above 32 bytes for the callee.
    .intel_syntax noprefix
    .globl _start
    .text
_start:
    push rbx
    push rsi
    sub rsp, 72                  # aligned to 16
    mov rbx, rdx                 # the system table
    mov rsi, [rbx + 88]          # runtime services
    mov qword ptr [rsp + 48], 1  # the size of what is read
    lea rcx, [rip + name]
    lea rdx, [rip + guid]
    xor r8d, r8d
    lea r9, [rsp + 48]
    lea rax, [rip + count]
    mov [rsp + 32], rax
    call [rsi + 72]              # GetVariable; count stays 0 when there is none
    inc byte ptr [rip + count]
    lea rcx, [rip + name]
    lea rdx, [rip + guid]
    mov r8d, 3                   # non volatile, boot service access
    mov r9d, 1
    lea rax, [rip + count]
    mov [rsp + 32], rax
    call [rsi + 88]              # SetVariable
    mov al, [rip + count]
    add al, '0'
    mov [rip + digit], al
    mov rcx, [rbx + 64]          # ConOut
    lea rdx, [rip + text]
    call [rcx + 8]               # OutputString
1:  pause
    jmp 1b

    .data
guid:
    .long 0x6e6f7676
    .word 0x6972, 0x6f65
    .byte 0x80, 1, 2, 3, 4, 5, 6, 7
count:
    .byte 0
    .balign 2
name:
    .word 'V', 'i', 'r', 'e', 'o', 0
text:
    .word 'v', 'i', 'r', 'e', 'o', ':', ' ', 's', 't', 'a', 'r', 't', 's', ' '
digit:
    .word '0', 13, 10, 0
