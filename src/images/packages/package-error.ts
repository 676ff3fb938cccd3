/** Why packages are not to be had, for users. */
export class PackageError extends Error {}
