/** What a QEMU that was taken over can do in the folders that it is lent. Needs root, as the agent has it. */
import { execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { asUser } from "../testing/outward-probe.ts";
import { receiveFile } from "./memory-files.ts";
import { MachineFolder } from "./qemu-record.ts";

const USER = { uid: 200_001, gid: 200_000 };
let path: string;
let folder: MachineFolder;

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), "vireo-lent-"));
  folder = MachineFolder.at(path);
  folder.create(USER);
});
afterEach(() => rmSync(path, { recursive: true }));

/** As its user, without rights. @throws Error when that fails */
const asQemu = (...command: string[]): string => {
  const [setpriv = "", ...args] = [...asUser(USER), ...command];
  return execFileSync(setpriv, args, { encoding: "utf8" });
};

const SEND = `
  use Socket;
  socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die; connect($s, pack_sockaddr_un($ARGV[0])) or die "$!";
  syswrite($s, "memory");`;

describe.runIf(process.getuid?.() === 0)("a QEMU that was taken over", () => {
  it("sends its memory to a socket of the agent's, and can put nothing in its place", async () => {
    const secret = join(path, "record.json");
    writeFileSync(secret, "root's", { mode: 0o600 });
    const socket = folder.lendSocket(USER, "client");
    expect(() => asQemu("ln", "-s", secret, socket)).toThrow("Permission denied");
    const file = join(path, "file");
    const receiver = await receiveFile(socket, file, USER);
    expect(() => asQemu("ln", "-sf", secret, socket)).toThrow("Permission denied");
    expect(statSync(socket)).toMatchObject(USER);
    expect(statSync(secret)).toMatchObject({ uid: 0, gid: 0 });
    asQemu("perl", "-e", SEND, socket);
    await expect.poll(() => existsSync(socket)).toBe(false); // it is being taken
    expect(await receiver.done()).toBe(6);
    expect(readFileSync(file, "utf8")).toBe("memory");
    receiver.close();
    folder.takeSocketBack();
    expect(existsSync(socket)).toBe(false);
  });

  it("listens in a folder of its own, whose links lead to nothing that is removed with it", () => {
    const socket = folder.lendSocket(USER, "listener");
    mkdirSync(join(path, "of-others"), { mode: 0o777 });
    writeFileSync(join(path, "of-others/file"), "");
    asQemu("ln", "-s", join(path, "of-others"), socket);
    folder.takeSocketBack();
    expect(existsSync(socket)).toBe(false);
    expect(existsSync(join(path, "of-others/file"))).toBe(true);
  });

  it("makes its sockets in a folder that is root's from then on, also for who has it open", async () => {
    const at = (file: string) => join(path, file);
    asQemu("touch", at("s/qmp"));
    expect(() => asQemu("ln", "-sf", "/etc/passwd", at("record.json"))).toThrow("Permission denied");
    // It stands in it when that changes.
    const stays = `cd ${at("s")} && touch ready && while [ ! -e ${at("now")} ]; do sleep 0.01; done; ln -sf /etc/passwd qmp`;
    const [setpriv = "", ...args] = [...asUser(USER), "sh", "-c", stays];
    const inIt = spawn(setpriv, args, { stdio: "ignore" });
    const ended = new Promise((resolve) => inIt.once("exit", resolve));
    await expect.poll(() => existsSync(at("s/ready"))).toBe(true);
    folder.secure();
    writeFileSync(at("now"), "");
    expect(await ended).not.toBe(0);
    expect(lstatSync(at("s/qmp")).isFile()).toBe(true);
  });

  it("reads the credentials that it is lent, and can put nothing in their place", () => {
    const from = join(path, "tls-of-host");
    mkdirSync(from, { mode: 0o700 });
    for (const name of ["ca-cert", "server-cert", "server-key", "client-cert", "client-key"])
      writeFileSync(join(from, `${name}.pem`), name, { mode: 0o600 });
    const lent = folder.lendCredentials(from, USER);
    expect(asQemu("cat", join(lent, "client-key.pem"))).toBe("client-key");
    expect(() => asQemu("rm", "-f", join(lent, "client-key.pem"))).toThrow("Permission denied");
    expect(() => asQemu("touch", join(lent, "other"))).toThrow("Permission denied");
    folder.takeBackCredentials();
    expect(existsSync(lent)).toBe(false);
  });
});
