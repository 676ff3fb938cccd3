/** The users of a recipe, put into the files of the image that say who there is: passwd(5), group(5), shadow(5), gshadow(5). */
import { chmod, chown, cp, lchown, mkdir, readdir, readFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { exists } from "../../system/exists.ts";
import type { User } from "../recipe-parts.ts";
import { rooted, writeRooted } from "../workshop/rooted.ts";

const FIRST_ID = 1000;
const LAST_ID = 59_999;

export interface Accounts {
  passwd: string[][];
  group: string[][];
  shadow: string[][];
  gshadow: string[][];
}

/** A user with what is made for them. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

/**
 * Changes the accounts. Pure.
 * @param hasShell whether the image has that program
 * @returns those who are there then, in the order of `users`. @throws Error naming the field
 */
export function withUsers(
  accounts: Accounts,
  users: readonly User[],
  hasShell: (path: string) => boolean = () => true,
): Account[] {
  const { passwd, group, shadow, gshadow } = accounts;
  return users.map(({ name, groups = [], passwordHash, shell }, i) => {
    const field = `recipe.users[${i}]`;
    if (shell !== undefined && !hasShell(shell))
      throw new Error(`${field}.shell: the image has no ${shell}; name its package in recipe.packages`);
    let entry = passwd.find(([known]) => known === name);
    if (!entry) {
      const taken = new Set([...passwd, ...group].map(([, , id]) => Number(id)));
      let id = FIRST_ID;
      while (taken.has(id)) id += 1;
      if (id > LAST_ID) throw new Error(`${field}: there is no number left for a user`);
      const own = group.find(([known]) => known === name);
      if (!own) {
        group.push([name, "x", `${id}`, ""]);
        gshadow.push([name, "!", "", ""]);
      }
      entry = [name, "x", `${id}`, own?.[2] ?? `${id}`, "", `/home/${name}`, "/bin/sh"];
      passwd.push(entry);
      // Its password was never changed: a date would be of the build.
      shadow.push([name, "*", "19000", "0", "99999", "7", "", "", ""]);
    }
    if (shell !== undefined) entry[6] = shell;
    const secret = shadow.find(([known]) => known === name);
    if (secret && passwordHash !== undefined) secret[1] = passwordHash;
    for (const [j, wanted] of groups.entries()) {
      const found = group.find(([known]) => known === wanted);
      if (!found)
        throw new Error(
          `${field}.groups[${j}]: the image has no group ${wanted}; it has ${group.map(([known]) => known).join(", ")}`,
        );
      found[3] = joined(found[3], name);
      const hidden = gshadow.find(([known]) => known === wanted);
      if (hidden) hidden[3] = joined(hidden[3], name);
    }
    return { name, uid: Number(entry[2]), gid: Number(entry[3]), home: entry[5] ?? "/" };
  });
}

const joined = (members = "", name: string) =>
  [...new Set([...members.split(",").filter(Boolean), name])].join(",");

const FILES = ["passwd", "group", "shadow", "gshadow"] as const;

/** Writes them into the image, with home folders. @throws Error naming the field */
export async function addUsers(root: string, users: readonly User[] = []): Promise<void> {
  if (users.length === 0) return;
  const read = async (name: string) =>
    (await readFile(await rooted(root, `/etc/${name}`), "utf8").catch(() => ""))
      .split("\n")
      .filter(Boolean)
      .map((line) => line.split(":"));
  const accounts: Accounts = {
    passwd: await read("passwd"),
    group: await read("group"),
    shadow: await read("shadow"),
    gshadow: await read("gshadow"),
  };
  const shells = new Map<string, boolean>();
  for (const { shell } of users)
    if (shell !== undefined) shells.set(shell, await exists(await rooted(root, shell)));
  const made = withUsers(accounts, users, (path) => shells.get(path) ?? false);
  for (const name of FILES) {
    const path = `/etc/${name}`;
    // Slim images have no gshadow, and need none.
    if (name === "gshadow" && !(await exists(await rooted(root, path)))) continue;
    await writeRooted(root, path, accounts[name].map((fields) => `${fields.join(":")}\n`).join(""));
  }
  for (const [i, { name, uid, gid, home }] of made.entries()) {
    const at = await rooted(root, home);
    if (!(await exists(at))) {
      await mkdir(at, { recursive: true });
      await chmod(at, 0o700);
      const skeleton = await rooted(root, "/etc/skel");
      // Links as they are: the image's.
      if (await exists(skeleton)) await cp(skeleton, at, { recursive: true, verbatimSymlinks: true });
    }
    const keys = users[i]?.sshAuthorizedKeys ?? [];
    if (keys.length > 0) {
      const folder = posix.join(home, ".ssh");
      await writeRooted(root, `${folder}/authorized_keys`, keys.map((key) => `${key}\n`).join(""), 0o600);
      await chmod(await rooted(root, folder), 0o700);
    }
    if (name !== "root") await own(at, uid, gid);
  }
}

/** Only root can; what is built without root is given to its owner when the machine boots. */
async function own(at: string, uid: number, gid: number): Promise<void> {
  if (process.getuid?.() !== 0) return;
  await chown(at, uid, gid);
  for (const entry of await readdir(at, { withFileTypes: true, recursive: true }))
    await lchown(join(entry.parentPath, entry.name), uid, gid);
}
