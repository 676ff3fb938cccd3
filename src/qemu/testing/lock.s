# Locks the CD drive at the second place of the first IDE channel (as programs do that read from it), and says so on the serial port.
.code16
.globl _start
_start:
  cli
  xor %ax,%ax
  mov %ax,%ds
  mov %ax,%ss
  mov $0x7c00,%sp
again:
  mov $0x1f6,%dx
  mov $0xb0,%al        # the second drive
  out %al,%dx
  call ready
  mov $0x1f1,%dx       # no DMA
  xor %al,%al
  out %al,%dx
  mov $0x1f4,%dx
  out %al,%dx
  inc %dx
  mov $8,%al
  out %al,%dx
  mov $0x1f7,%dx
  mov $0xa0,%al        # a packet follows
  out %al,%dx
  call ready
  mov $packet,%si
  mov $6,%cx
  mov $0x1f0,%dx
1: lodsw
  out %ax,%dx
  loop 1b
  call ready
  test $1,%al          # the first is refused after another medium came
  jnz again
  mov $text,%si
  mov $0x3f8,%dx
2: lodsb
  test %al,%al
  jz 3f
  out %al,%dx
  jmp 2b
3: hlt
  jmp 3b
ready:
  mov $0x1f7,%dx
4: in %dx,%al
  test $0x80,%al
  jnz 4b
  ret
packet: .byte 0x1e,0,0,0,1,0,0,0,0,0,0,0   # PREVENT MEDIUM REMOVAL
text: .asciz "locked\r\n"
.org 510
.word 0xaa55
