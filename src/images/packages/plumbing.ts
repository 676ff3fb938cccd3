/** What slim images do without. */

/**
 * Only maintainer scripts need these, and a slim image runs none. apt is told that they are installed, so it brings neither
 * them nor what they depend on; unless the recipe asks for one by name.
 */
export const PLUMBING = [
  "adduser",
  "debconf",
  "dpkg",
  "init-system-helpers",
  "install-info",
  "iproute2",
  "libpam-modules",
  "libpam-modules-bin",
  "libpam-runtime",
  "login",
  "lsb-base",
  "passwd",
  "sensible-utils",
  "sysvinit-utils",
  "tar",
  "ucf",
  "usr-is-merged",
  "usrmerge",
];
/** What plumbing provides under other names. */
export const PLUMBING_PROVIDES: Readonly<Record<string, string>> = { debconf: "debconf-2.0" };
