/**
 * A disk that UEFI boots, for tests on the real QEMU: FAT with one program. uefi.s beside this file is a program that says "vireo: starts N", N
 * counted in a variable of the firmware. Built by
 *   as --64 uefi.s -o u.o && ld -m i386pep --subsystem 10 -s --file-alignment 512 --section-alignment 4096 -e _start --image-base 0x400000 -o u.efi u.o
 */
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const COUNTER =
  "H4sIAAAAAAACA/ONmsDAzMDAwALE//8zMOxggAAHBsKgAYj55HfxMWzhPKu4g9HnrGJIRmaxQkFRfnpRYq5CcmJeXn6JQlKqQlFpnkJmnoKLf7BCbn5Kqh4vL5cK1IwAVwaGlDZmBllP1myYuR8Y9Ji4mZg0GJigDgMBASiGuQzEZkJIs4IVQ6WBgl38DAxcDAmMDAwKCPXIDAGEPwSQPWXAwCDBQH+gV5JaUQKkNyD5De45KAD6JEEvJbEkEch2ggqA1bGhqgMGwQG9TIhCCaifwOo4MNUxjIIRDYLDPJrfeHh0XvboLo7wOO6iYgDMMgwevbxf+UGU6B0g5Wp4wKfXR8XAo5f1Lki000VF4X+Yxz/W82A1vKcgSjcCKccdoMLEcSfEENZ1COURXawLgDwWgw7WQyDRbm8HoJ7ZQOb/QI7PE17/SeOXdwGVQRAAcx86fxRQF5SV5ecVZabmNzAyMbOwsrEzMIQxZDIUMaQy5INk4WwrYGFTzFDCkAjklwBZCsBChRdYwo6CUTAKhi4AAFKbukcACgAA";

/** Says "vireo: aarch64". uefi-arm.s, built by aarch64-linux-gnu-as uefi-arm.s -o a.o && aarch64-linux-gnu-objcopy -O binary -j .text a.o a.efi */
const ARM =
  "H4sIAAAAAAACA/ONYiAbOABxgCsDQ8oqRhTxBQxsTNxMQDEmJEEBKEbmM2ExVAGhjotId7CR4Xa9ktSKEgaoGwSQaFSnPJBXYL46ikfxKB7Fo3gUj+JRPIpH8SgexaN4FA91/Ld6/0oFBYefC4G9XyYWh58ODPbX6oHi////Fy9jyGQoYkhlyGewAvaFE4GwiCGZIYPBjMGEgRfaOx8Nw6GNAYP2/fIAEgAA";

/** Writes a raw disk of 16 MiB. @param program another one instead, such as a boot loader that is signed */
export function writeUefiDisk(path: string, program?: string): void {
  write(path, "BOOTX64.EFI", program ? readFileSync(program) : gunzipSync(Buffer.from(COUNTER, "base64")));
}

export function writeArmDisk(path: string): void {
  write(path, "BOOTAA64.EFI", gunzipSync(Buffer.from(ARM, "base64")));
}

function write(path: string, name: string, program: Buffer): void {
  const efi = `${path}.efi`;
  writeFileSync(efi, program);
  execFileSync("truncate", ["-s", "16M", path]);
  execFileSync("mkfs.vfat", [path], { stdio: "ignore" });
  execFileSync("mmd", ["-i", path, "::EFI", "::EFI/BOOT"]);
  execFileSync("mcopy", ["-i", path, efi, `::EFI/BOOT/${name}`]);
  rmSync(efi);
}
