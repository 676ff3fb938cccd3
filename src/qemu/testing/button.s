.code16
.globl _start
_start:
  # Waits for the power button, and then powers off: PM1a_EN 0x602, PM1a_STS 0x600 (bit 8: power button), PM1a_CNT 0x604, as in shut.s.
  # Says "r" on the serial port once it would hear it. It looks by the timer's interrupts.
  mov $0x602,%dx
  in %dx,%ax
  or $0x100,%ax
  out %ax,%dx
  mov $0x3f8,%dx
  mov $'r',%al
  out %al,%dx
  sti
1:
  hlt
  mov $0x600,%dx
  in %dx,%ax
  test $0x100,%ax
  jz 1b
  mov $0x604,%dx
  mov $0x2000,%ax
  out %ax,%dx
2: hlt
  jmp 2b
.org 510
.word 0xaa55
