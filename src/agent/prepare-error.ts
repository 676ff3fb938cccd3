/** Disks or network cannot be had. The text is for users; the inside is in `cause`. */
export class PrepareError extends Error {}
