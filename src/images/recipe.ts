/** What an image is made of and how: the recipe that Images and ImageBuilds have. Pure. */
import { createHash } from "node:crypto";
import { type Static, Type } from "typebox";
import { canonical } from "../resource/canonical.ts";
import { AS_SET, keyedBy, Name, Words } from "../resource/kind.ts";
import { Archive, Branding, Mirror, Repository, User } from "./recipe-parts.ts";
import { KERNELS, MODES, PROFILES } from "./releases/release.ts";
import { DISTRIBUTIONS, RELEASE_NAMES } from "./releases/releases.ts";
import { BOOTS, DEFAULT_RELEASE, ROOTS } from "./shared.ts";

const PACKAGE_NAME = "^[A-Za-z0-9][A-Za-z0-9+._-]+$";

export const LockedPackage = Type.Object({
  name: Type.String({ pattern: PACKAGE_NAME, maxLength: 200 }),
  version: Type.String({ pattern: "^[A-Za-z0-9.+:~^_-]+$", maxLength: 200 }),
  arch: Type.Optional(
    Words(["x86_64", "noarch"], {
      description: "Of RPMs. Of their distributions' images, what has none is Debian's: it boots them.",
    }),
  ),
  sha256: Type.String({ pattern: "^[0-9a-f]{64}$", description: "Of the .deb or .rpm file." }),
});
export type LockedPackage = Static<typeof LockedPackage>;

/** What an image is given to other hypervisors in, besides the disk of Vireo's own machines (qcow2, uncompressed). */
export const FORMATS = [
  "raw",
  "qcow2",
  "vmdk",
  "vmdk-stream",
  "ova",
  "vhd",
  "vhd-fixed",
  "vhdx",
  "vdi",
  "parallels",
  "virtual-pc",
  "virtual-iron",
  "xen",
  "ami",
  "iso",
  "pxe",
  "oci",
] as const;
export type Format = (typeof FORMATS)[number];
/** What lies beside every image, too: lists of its packages, and where it comes from. */
export const ARTIFACTS = [...FORMATS, "spdx", "cyclonedx", "files", "provenance", "signature"] as const;

export const Recipe = Type.Object(
  {
    mode: Type.Optional(
      Words(MODES, {
        description:
          "slim (default): packages are unpacked, their maintainer scripts do not run, busybox is init. full: a system with its package manager, whose packages' scripts ran, and systemd as init; it is built as root. Of Fedora, CentOS Stream and openSUSE all images are full.",
      }),
    ),
    distribution: Words(DISTRIBUTIONS, { default: DEFAULT_RELEASE.distribution }),
    release: Words(RELEASE_NAMES, { default: DEFAULT_RELEASE.release, description: "Of the distribution." }),
    mirror: Type.Optional(Mirror),
    packages: Type.Array(Type.String({ pattern: PACKAGE_NAME }), {
      maxItems: 200,
      uniqueItems: true,
      ...AS_SET,
      description: "Packages of the distribution, by name.",
    }),
    profile: Type.Optional(
      Words(PROFILES, {
        description:
          "minimal (default): no more than the packages named here. In mode: full, server: SSH, time from the network, certificates; text: that, with manual pages, documentation, translations and tools to work at a terminal; gnome, kde: a server with that desktop, of Debian and Ubuntu.",
      }),
    ),
    repositories: Type.Optional(
      Type.Array(Repository, {
        maxItems: 20,
        "x-kubernetes-list-type": "atomic",
        description: "Where packages come from, besides the distribution itself.",
      }),
    ),
    hostname: Type.Optional(
      Name("Of machines that are given none by their first-boot data; vireo by default."),
    ),
    users: Type.Optional(
      Type.Array(User, {
        maxItems: 100,
        ...keyedBy("name"),
        description: "Who may log in, besides those whom the machine's first-boot data lets in.",
      }),
    ),
    locale: Type.Optional(
      Type.String({
        pattern: "^(C|[a-z]{2,3}_[A-Z]{2})\\.UTF-8(@[a-z]+)?$",
        description: "Language and formats of services and users, such as de_DE.UTF-8; C.UTF-8 by default.",
      }),
    ),
    timeZone: Type.Optional(
      Type.String({
        pattern: "^[A-Za-z]+(/[A-Za-z0-9_+-]+){0,2}$",
        maxLength: 60,
        description: "As in the tz database, such as Europe/Berlin; UTC by default.",
      }),
    ),
    branding: Type.Optional(Branding),
    firstBoot: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 262144,
        description:
          "A script that is run once on each machine, as root, when its network is there and before its services start; again at the next boot until it ends with 0. POSIX sh, unless its first line says otherwise.",
      }),
    ),
    services: Type.Optional(
      Type.Array(
        Type.Object({
          name: Name("Name of the service."),
          command: Type.Optional(
            Type.String({
              minLength: 1,
              pattern: "^[^\\n]*$",
              description:
                "Run in the foreground by init and started again when it ends. Without it, in mode: full, the unit NAME.service that a package brings is enabled.",
            }),
          ),
        }),
        { description: "What init keeps running.", ...keyedBy("name") },
      ),
    ),
    directories: Type.Optional(
      Type.Array(Type.String({ pattern: "^/", maxLength: 200 }), {
        maxItems: 200,
        uniqueItems: true,
        ...AS_SET,
        description: "Folders to make, such as those that a package's maintainer scripts would have made.",
      }),
    ),
    files: Type.Optional(
      Type.Array(
        Type.Object({
          path: Type.String({ pattern: "^/", description: "Absolute path in the image." }),
          content: Type.String({ maxLength: 1048576 }),
          encoding: Type.Optional(
            Words(["base64"], { description: "base64: content is that of any bytes; text without it." }),
          ),
          mode: Type.Optional(
            Type.String({ pattern: "^0[0-7]{3}$", description: 'File mode, "0644" by default.' }),
          ),
        }),
        keyedBy("path"),
      ),
    ),
    archives: Type.Optional(
      Type.Array(Archive, {
        maxItems: 20,
        ...keyedBy("file"),
        description:
          "Files in tar archives, for what is too large for files: an application's folder. They are sent to the build (imagebuilds/NAME/upload), and kept in the storage pool as long as an image, or a build that is not over, names them.",
      }),
    ),
    kernel: Type.Optional(
      Words(KERNELS, {
        description:
          "cloud (default): the distribution's small kernel for virtual machines, with the drivers of Vireo's own. generic (default of desktops): its kernel for all hardware, with the network cards of the usual hypervisors, and screens.",
      }),
    ),
    boot: Type.Optional(
      Words(BOOTS, {
        description:
          "direct (default): the machine is started with the kernel itself. Otherwise the disk has a boot loader, for the firmware that is named.",
      }),
    ),
    root: Type.Optional(
      Words(ROOTS, {
        description:
          "ext4 (default): a file system on the disk, which the machine writes to. squashfs, erofs: a compressed one on the disk that is only read. ram: all of it is loaded into memory. Of all but ext4, what a machine changes is in memory, and gone when it ends.",
      }),
    ),
    minimize: Type.Optional(
      Type.Boolean({
        description:
          "Programs and libraries that neither the services nor the packages named here need are left out; false by default. The build's log lists them.",
      }),
    ),
    traced: Type.Optional(
      Type.Array(Type.String({ pattern: "^/", maxLength: 500 }), {
        maxItems: 20000,
        "x-kubernetes-list-type": "atomic",
        description:
          "Files of packages that a run of the application has used (vireo image analyze --run … --minimize). With minimize, of packages that the run used something of, and of those that come along, no more is kept than these, what they need, and configuration.",
      }),
    ),
    guestAgent: Type.Optional(
      Type.Boolean({ description: "QEMU's guest agent is in the image; true by default." }),
    ),
    formats: Type.Optional(
      Type.Array(Words(FORMATS), {
        uniqueItems: true,
        ...AS_SET,
        description: "Files for other hypervisors, beside the disk of Vireo's own machines.",
      }),
    ),
    lock: Type.Optional(
      Type.Array(LockedPackage, {
        maxItems: 2000,
        ...keyedBy("name"),
        description:
          "Exactly these packages are used, nothing is resolved: the same lock gives the same image, bit for bit. `vireo image lock` prints it.",
      }),
    ),
    diskMiB: Type.Optional(
      Type.Integer({
        minimum: 16,
        maximum: 1048576,
        description: "Size of the root file system; what it needs plus half, by default.",
      }),
    ),
    maxMiB: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1048576,
        description: "A build whose image takes more room than that fails, and says what is largest in it.",
      }),
    ),
  },
  { description: "How the image is built." },
);
export type Recipe = Static<typeof Recipe>;

/** What a file of the recipe has in it. */
export const bytesOf = ({
  content,
  encoding,
}: Pick<NonNullable<Recipe["files"]>[number], "content" | "encoding">) =>
  Buffer.from(content, encoding ?? "utf8");

/** @returns sha256 in hexadecimal of any JSON value, however its fields are ordered */
export const digestOf = (value: unknown) => createHash("sha256").update(canonical(value)).digest("hex");

/** Whether both say the same. */
export const sameRecipe = (a: Recipe, b: Recipe | undefined) =>
  b !== undefined && digestOf(a) === digestOf(b);
