# Arms the i6300esb on bus 0 and never feeds it: writes its two timers (31 ms each) through a flat data segment, as panic.s does, and
# enables it in configuration space.
.code16
.globl _start
_start:
  cli
  xor %ax,%ax
  mov %ax,%ds
  mov %ax,%ss
  mov $0x7c00,%sp
  lgdt gdtr
  mov %cr0,%eax
  or $1,%eax
  mov %eax,%cr0
  mov $8,%bx
  mov %bx,%ds
  and $0xfe,%al
  mov %eax,%cr0
  xor %ax,%ax
  mov %ax,%ds          # base 0; the limit stays 4 GiB
  mov $0x80000000,%ebx
1: mov %ebx,%eax
  call read
  cmp $0x25ab8086,%eax
  je 2f
  add $0x800,%ebx
  cmp $0x80010000,%ebx
  jb 1b
3: hlt
  jmp 3b
2: lea 0x10(%ebx),%eax
  call read
  and $0xfffffff0,%eax
  mov %eax,%esi
  call unlock
  movl $0x8000,(%esi)
  call unlock
  movl $0x8000,4(%esi)
  lea 0x60(%ebx),%eax
  call address
  mov $4,%ax           # 1 MHz
  out %ax,%dx
  lea 0x68(%ebx),%eax
  call address
  mov $2,%al           # enable
  out %al,%dx
  jmp 3b
unlock:
  movw $0x80,0xc(%esi)
  movw $0x86,0xc(%esi)
  ret
address:               # eax: address in configuration space; dx: the port of its value
  mov $0xcf8,%dx
  out %eax,%dx
  mov $0xcfc,%dx
  ret
read:                  # eax: address in configuration space -> its value
  call address
  in %dx,%eax
  ret
.align 8
gdt: .quad 0
  .quad 0x00cf92000000ffff
gdtr: .word 15
  .long gdt
.org 510
.word 0xaa55
