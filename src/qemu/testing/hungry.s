# Takes 32 MiB of memory, page by page, again and again: '.' on the serial port after each time.
.code16
.globl _start
_start:
  cli
  xor %ax,%ax
  mov %ax,%ds
  mov %ax,%ss
  mov $0x7c00,%sp
  in $0x92,%al
  or $2,%al
  out %al,$0x92
  lgdt gdtr
  mov %cr0,%eax
  or $1,%eax
  mov %eax,%cr0
  ljmp $16,$flat
.code32
flat:
  mov $8,%ax
  mov %ax,%ds
again:
  mov $0x200000,%edi
1: incl (%edi)
  add $0x1000,%edi
  cmp $0x2200000,%edi
  jb 1b
  mov $0x3f8,%dx
  mov $'.',%al
  out %al,%dx
  jmp again
.align 8
gdt: .quad 0
  .quad 0x00cf92000000ffff
  .quad 0x00cf9a000000ffff
gdtr: .word 23
  .long gdt
.org 510
.word 0xaa55
