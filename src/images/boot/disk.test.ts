import { expect, it } from "vitest";
import { clampTimes, newestFile } from "../workshop/times.ts";
import { makeRootDisk } from "./disk.ts";

it("each step of making a disk ends when nobody wants the build any more", async () => {
  const work = {
    folder: "/nowhere",
    cache: "/nowhere",
    log: () => {},
    signal: AbortSignal.abort(new Error("no more")),
  };
  await expect(newestFile(work, "/nowhere")).rejects.toThrow("no more");
  await expect(clampTimes(work, "/nowhere", 0)).rejects.toThrow("no more");
  const about = { diskMiB: undefined, epoch: 0, uuid: "" };
  await expect(makeRootDisk(work, "/nowhere", about)).rejects.toThrow("no more");
});
