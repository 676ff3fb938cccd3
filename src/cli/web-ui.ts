/** Where the built web UI is; the launcher builds it (./vireo). */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./paths.ts";

export const WEB_UI = join(ROOT, "web/dist");

export const hasWebUi = (): boolean => existsSync(join(WEB_UI, "index.html"));
