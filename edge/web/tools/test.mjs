// Bundles test/*.test.ts and runs them with node's own runner: no browser, seconds.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const web = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const out = resolve(web, "build/test");
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const tests = readdirSync(resolve(web, "test")).filter((name) => name.endsWith(".test.ts"));
await build({
  entryPoints: tests.map((name) => resolve(web, "test", name)),
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  external: ["onnxruntime-web"],
  sourcemap: "inline",
  loader: { ".json": "json" },
  logLevel: "warning",
});
const files = readdirSync(out).map((name) => resolve(out, name));
const { status } = spawnSync(
  process.execPath,
  ["--enable-source-maps", "--test", "--test-reporter=dot", ...files],
  {
    stdio: "inherit",
  },
);
process.exit(status ?? 1);
