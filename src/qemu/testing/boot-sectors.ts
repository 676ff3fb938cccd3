/**
 * Guests of 512 bytes for tests on the real QEMU; sources beside this file. Built by
 *   as --32 X.s -o X.o && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -e _start X.o -o X.bin
 */
import { truncateSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const SECTORS = {
  /** Dirties half a megabyte of memory for ever. */
  busy: "H4sIAAAAAAACA/tleKDvwh6Gmt+7GQT6Dhv+V/vH2nicQaD0e+NhBoHG3wwTil4CZfT+sznX6DXaOdcwKBTd0DsO5DEw7PrBvEHv3euTDKNgqILQVQDwpXTJAAIAAA==",
  /** Writes its disk for ever. */
  writer:
    "H4sIAAAAAAACAzM80Hej70DfhT0MNb/T/rPF1KQtBOLFDA1pqv/tGRjSWBk4gOTikJodDM77fGo2NZwV3s2g0Pc45R8bA0PjYQbGxt8MDUXvXx/uLWEQYGBkYGhgGAVDBoSuAgANUh7hAAIAAA==",
  /** Writes its whole disk for ever, as fast as it can, see flood.s. */
  flood: "H4sIAAAAAAACAzM80Hej78IehprjbHo1Dgz71Gp2MDifFW4G8Rrt9GoYGopev34swODAAAQCDKNgWIHQVQDEmA7TAAIAAA==",
  /** ACPI power off. */
  shutdown: "H4sIAAAAAAACA9vFwraDQeH9l9d/GUbBiAOhqwBOOI+aAAIAAA==",
  /** Powers off when its power button is pressed; says so on the serial port when it would, see button.s. */
  button: "H4sIAAAAAAACA9vFxPaWl4Hx/a4fzBuK3v3+souB7e1KBsaSb7tY2HYwKLz/8vovwygYriB0FQDh4U/EAAIAAA==",
  /** Resets, again and again. */
  reset: "H4sIAAAAAAACA9vpwBC48///R/8iH33fwLbrJ8+7L6//MoyCkQFCVwEADHwe+wACAAA=",
  /** Touches the pvpanic device. */
  panic:
    "H4sIAAAAAAACA/tleKDvRt+FPQw1/IxiDTX8CgfSmk8w8isd2M3B0Hdb5R+QBVKRtpuBgaEhrfPGC12GNFszaUGGEuG0xsMMHAwMaY2/GRgYG4oefXn9Nz2t11ngBRdDWvODD+nHGBhfv971gyft/a4/PGlvD/duYWCYwAAF//8DiUnnGfgZCmoYRsEAgdBVABaYlwEAAgAA",
  /** Arms its watchdog and does not feed it, see watchdog.s. */
  watchdog:
    "H4sIAAAAAAACA/tleKDvRt+FPQw1/IxiB2r4FQ6kNZ9g5Fc6sJuDoe+2yj8gC6QibTcDA0NDWueNFwUMabZtDatVS4TTGg8zcDAwpDX+ZmBgbCh69OX13/S0XmeBF74Mac0PPqR1Hnuhy5CedpyNoYGB4YUSiOnGAmKDVCW8kGPYwcLwHsTOeCHEsIHp3et96cfdeBoYQGQbw+FdP3jS3u/6w3P4xZf/aW8P925hYOgtYYCB//+BxKTzDPwMG2oYRgGZIHQVAC+EclQAAgAA",
  /** Says on the serial port which old hardware it finds, see old.s; two sectors. */
  old: "H4sIAAAAAAACAzM80Hej70DfhT0MNftm1LzIZQja9YMnbQcDA0ND2vu0t1H75tek2YJ4pcz7ltS88GXYwci0k4nB4NtuhrqzwkVs+xjqXlgw7JJnfvNu5///j/7tYmd+Y/O/hGtFQwnbvpU1L2QYdh1h3sEm9N7pjY1QKdu+9TUvOBn2ba95wczw5fXfNS0HSkQ6jgTt+sv8ZoVCye9dP5g7HryLev38cFlmUWq+FYNCZnEig0JBciaDQl6qUTaDQnJmUVFpMYNCal4KLxfDKKAMhK5SSMkszh4NiBELAJ3Qt/wABAAA",
  /** Tells on the serial port of every word of its memory that is not what it wrote there, see counter.s. */
  counter:
    "H4sIAAAAAAACA/tleKDvRt+FPQw1TybxMD2bxM8o1lHDr3AgrfkEI7/SgVcqNQIMaTs4GKCKGBgMb+9nYFBgsJQvVe11ZuxkbzzOIMDA0PifgUGFoeil8/fD/+0ZGEpvp+36wbxB793rS2CGK5DRu40BCfwHamCYdB5CzzrPIM5QUMMwCugMQlcBAJfW/U8AAgAA",
  /** A terminal on COM1, with a screen and a keyboard, see console.s. */
  console:
    "H4sIAAAAAAACAzM80Hej70DfhT0MNb//7GBmOCuwb0HNmpYDJRwv0hhelDC8/rzrL/ObFYwlIrt+ML+xqStRtVEscXjhxfAiguH1ky2MZ8VK7hk8OSsWsCH7hSlDxAtDhhf2DK9Pb07suPFCleHf4Ybf1aVMmxN3/v//6B/UpKev1wDN2sdQs5OB6XPe689BAWAJhZIfEUDxd1GHgwO28O1mBzolIvpwWWZRar6VQnJ+XnF+TiovF8MooCIIXQUAcOX0YwACAAA=",
  /** Takes 32 MiB of memory. */
  hungry:
    "H4sIAAAAAAACA/tleKDvRt+FPQw1TybxMD2bxM8ollDDr3AgrfkEI7/SgVcqNQIMaTs4GPpu7GdgUGD4z954nEGAgaHxP5DHVPQhbdcP5g16714/YoCC/0AJhknnIfSs8wziDB41DKNgkILQVQAW/hu1AAIAAA==",
  /** Locks its CD drive on the board pc and says so on the serial port, see lock.s. */
  lock: "H4sIAAAAAAACA/tleKDvRt+FPQw1u74xbtjw7oUNw66PjAYH3u36wvjOaQPHu13fGTcsePdClWFfRM1ONoZdHxjXvn/054UowwrG0jP7Ump2/WBe03KghPnd6x9fXv8Fqn6zoqH092E5BgYGRgYIyMlPzk5N4eViGAWDDISuAgCMKULGAAIAAA==",
} as const;

/**
 * Writes a CD (ISO 9660, as far as a BIOS looks) that boots this guest by El Torito, without emulation of a disk: descriptors of a volume, of what it boots
 * and of their end, the boot catalogue, and the guest.
 */
export function writeBootCd(path: string, guest: keyof typeof SECTORS): void {
  const cd = Buffer.alloc(24 * 2048);
  const at = (sector: number) => sector * 2048;
  const [catalogue, code] = [19, 20];
  const descriptor = (sector: number, type: number) => {
    cd[at(sector)] = type;
    cd.write("CD001\x01", at(sector) + 1, "latin1");
  };
  descriptor(16, 1);
  cd.writeUInt32LE(24, at(16) + 80);
  cd.writeUInt16LE(2048, at(16) + 128);
  descriptor(17, 0);
  cd.write("EL TORITO SPECIFICATION", at(17) + 7, "latin1");
  cd.writeUInt32LE(catalogue, at(17) + 71);
  descriptor(18, 255);
  // The sum of its 16 words is 0.
  cd.set([1, 0], at(catalogue));
  cd.set([0x55, 0xaa], at(catalogue) + 30);
  cd.writeUInt16LE((0x10000 - 0xaa55 - 1) & 0xffff, at(catalogue) + 28);
  cd.set([0x88, 0], at(catalogue) + 32);
  cd.writeUInt16LE(4, at(catalogue) + 38);
  cd.writeUInt32LE(code, at(catalogue) + 40);
  cd.set(gunzipSync(Buffer.from(SECTORS[guest], "base64")), at(code));
  writeFileSync(path, cd);
}

/** Writes a raw disk of 16 MiB that boots this guest. */
export function writeBootDisk(path: string, guest: keyof typeof SECTORS): void {
  writeFileSync(path, gunzipSync(Buffer.from(SECTORS[guest], "base64")));
  truncateSync(path, 2 ** 24);
}
