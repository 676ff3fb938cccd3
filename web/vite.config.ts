/**
 * Builds the UI into web/dist, which the API server serves. The build also writes dist/.inputs, the SHA-256 of each file of this
 * repository that went into it, as sha256sum writes and checks them: so the launcher sees whether it has to build again.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const ROOT = resolve(import.meta.dirname, "..");
const ALWAYS = ["web/package-lock.json", "web/vite.config.ts", "web/index.html", "web/public/favicon.svg"];

function inputs(): Plugin {
  let folder = "";
  const files = new Set(ALWAYS.map((name) => join(ROOT, name)));
  return {
    name: "vireo-inputs",
    configResolved: (config) => {
      folder = resolve(config.root, config.build.outDir);
    },
    // Also those of which nothing is left in the end: types, and what was shaken off.
    transform(_code, id) {
      const [file = ""] = id.replace(/^\0/, "").split("?");
      if (file.startsWith(ROOT) && !file.includes("/node_modules/")) files.add(file);
    },
    writeBundle() {
      const lines = [...files]
        .sort()
        .map(
          (file) =>
            `${createHash("sha256").update(readFileSync(file)).digest("hex")}  ${relative(ROOT, file)}\n`,
        );
      writeFileSync(join(folder, ".inputs"), lines.join(""));
    },
  };
}

/**
 * The copy of pako in noVNC 1.7.0 loses the window of a stream that was reset: whatever refers back to it then is an error, and the viewer leaves. A
 * machine's screen begins its streams anew whenever the machine moves (src/consoles/vnc-session.ts). zlib itself makes the window anew when it has no size.
 */
function mendedInflate(): Plugin {
  const [wrong, right] = [
    "if (state.window === null) {",
    "if (state.window === null || state.wsize === 0) {",
  ];
  return {
    name: "vireo-mended-inflate",
    transform(code, id) {
      if (!/novnc\/vendor\/pako\/lib\/zlib\/inflate\.js$/.test(id.split("?")[0] ?? "")) return undefined;
      if (code.split(wrong).length !== 2)
        throw new Error(`${id}: is another one than was mended here; see whether it still needs it`);
      return code.replace(wrong, right);
    },
  };
}

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react(), inputs(), mendedInflate()],
  // `vite` alone serves the UI with the API of a running control plane behind it: VIREO_URL=https://127.0.0.1:6443
  server: {
    fs: { allow: [ROOT] },
    proxy: Object.fromEntries(
      ["/apis", "/api", "/session", "/version", "/openapi"].map((path) => [
        path,
        { target: process.env.VIREO_URL ?? "https://127.0.0.1:6443", secure: false, ws: true },
      ]),
    ),
  },
  build: {
    outDir: process.env.VIREO_WEB_OUT ?? "dist",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 700,
    reportCompressedSize: false,
  },
});
