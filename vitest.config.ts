import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "test/structure/**/*.test.ts", "web/src/**/*.test.ts"],
          exclude: ["src/**/*.real.test.ts"],
          // What hangs is found as well a minute later; a busy machine takes long for what takes a second else.
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // Of a second by default, which a busy machine may need for one look.
          expect: { poll: { timeout: 15_000 } },
        },
      },
      {
        // Real QEMU, etcd, kubectl, guests: one file at a time, because the machine has few cores and timing matters to guests.
        test: {
          name: "real",
          include: ["src/**/*.real.test.ts", "test/**/*.test.ts", "web/test/**/*.test.ts"],
          exclude: ["test/structure/**"],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
          globalSetup: "test/support/sweep.ts",
        },
      },
    ],
  },
});
