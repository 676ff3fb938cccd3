# Writes the first 16 MiB of its disk again and again, all but this, 32 KiB at a time: faster than any limit of a test.
.code16
.globl _start
_start:
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7c00, %sp
begin:
	movw $64, lba
next:
	movw $packet, %si
	movw $0x4300, %ax		# extended write; DL has been the drive since the BIOS
	int $0x13
	addw $64, lba
	cmpw $0x8000, lba
	jb next
	jmp begin

packet:	.byte 16, 0
	.word 64, 0, 0x1000		# sectors; where from: offset, segment
lba:	.word 0, 0, 0, 0

.org 510
.word 0xaa55
