/** What is known of a root file system when it is made: how old it is, and who brought which part of it. */

/** A part of the tree, by absolute paths in it. */
export interface Layer {
  name: string;
  paths: readonly string[];
}

export interface Root {
  /** The moment that no file of it is newer than, in seconds since 1970. */
  epoch: number;
  /** What each archive brought, and of slim images each package; some of it may have been left out, or be other files now. */
  layers: Layer[];
}

/** Packages may still have some of their files in /bin, /sbin and /lib. */
export const merged = (path: string) => path.replace(/^\/(bin|sbin|lib|lib64)\//, "/usr/$1/");
