/** An image of Debian trixie, from Debian's own mirror, whose modules are packed: built slim, and booted. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CACHE } from "../../cli/paths.ts";
import type { Recipe } from "../recipe.ts";
import { bootToEnd, NIC } from "../testing/boot.ts";
import { buildImage } from "./builder.ts";

const BUILD_MS = 300_000;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-trixie-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it(
  "boots",
  async () => {
    const recipe: Recipe = {
      ...{ distribution: "debian", release: "trixie", packages: [] },
      services: [{ name: "tell", command: "/usr/bin/tell" }],
      files: [
        {
          path: "/usr/bin/tell",
          mode: "0755",
          content: `#!/bin/sh\necho "tell: $(. /etc/os-release; echo "$ID $VERSION_ID $VERSION_CODENAME")" > /dev/console\npoweroff -f\n`,
        },
      ],
    };
    const built = await buildImage({ name: "trixie", recipe, folder, cache: CACHE, progress: () => {} });
    const said = await bootToEnd(folder, built, { memoryMiB: 128, timeoutMs: BUILD_MS / 2, devices: NIC });
    expect(said).toContain("tell: debian 13 trixie");
  },
  2 * BUILD_MS,
);
