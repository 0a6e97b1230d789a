// Builds dist/lib (the package), dist/page (the demo's files) and an archive of the page.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const web = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const dist = resolve(web, "dist");
const page = join(dist, "page");
const { version } = JSON.parse(readFileSync(join(web, "package.json"), "utf8"));
rmSync(dist, { recursive: true, force: true });
mkdirSync(join(page, "ort"), { recursive: true });

const shared = {
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  // onnxruntime-web without its own copy of the loader, which is a file of its own.
  conditions: ["onnxruntime-web-use-extern-wasm"],
  loader: { ".json": "json" },
  logLevel: "warning",
};

// The package: what it depends on stays outside, but for the worker, which pages load as it is.
await build({
  ...shared,
  minify: false,
  entryPoints: [join(web, "src/index.ts")],
  outdir: join(dist, "lib"),
  packages: "external",
});
await build({
  ...shared,
  entryPoints: [join(web, "src/worker.ts")],
  outdir: join(dist, "lib"),
  splitting: true,
});
execFileSync(
  join(web, "node_modules/.bin/tsc"),
  ["-p", join(web, "tsconfig.lib.json"), "--outDir", join(dist, "lib")],
  { stdio: "inherit" },
);

// The page.
await build({ ...shared, entryPoints: [join(web, "page/main.ts")], outdir: page });
await build({
  ...shared,
  entryPoints: [join(web, "src/worker.ts")],
  outdir: page,
  chunkNames: "chunk-[hash]",
  splitting: true,
});
for (const name of ["index.html", "style.css", "icon.svg", "app.webmanifest"]) {
  copyFileSync(join(web, "page", name), join(page, name));
}
const runtime = join(web, "node_modules/onnxruntime-web/dist");
const BUILDS = ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.asyncify"];
for (const name of BUILDS) {
  for (const kind of ["mjs", "wasm"]) {
    copyFileSync(join(runtime, `${name}.${kind}`), join(page, "ort", `${name}.${kind}`));
  }
}

// The library alone, within reach of tests and timings: a site of its own, no part of the page.
const harness = join(web, "build/harness");
rmSync(harness, { recursive: true, force: true });
cpSync(page, harness, { recursive: true });
await build({ ...shared, entryPoints: [join(web, "test/harness.ts")], outdir: harness });
copyFileSync(join(web, "test/harness.html"), join(harness, "index.html"));

// What is kept for a visit without a network: all but what a GPU alone needs.
const files = walk(page)
  .map((path) => relative(page, path))
  .filter((name) => !name.includes("asyncify"))
  .sort();
const digest = createHash("sha256");
for (const name of files) {
  digest.update(name).update(readFileSync(join(page, name)));
}
await build({
  ...shared,
  entryPoints: [join(web, "page/sw.ts")],
  outdir: page,
  define: {
    FILES: JSON.stringify(["./", ...files.filter((name) => name !== "index.html")]),
    VERSION: JSON.stringify(digest.digest("hex").slice(0, 12)),
  },
});

// Compressed beside, for servers that send it so.
let compressed = 0;
for (const path of walk(page)) {
  const bytes = gzipSync(readFileSync(path), { level: 9 });
  writeFileSync(`${path}.gz`, bytes);
  if (!path.includes("asyncify")) {
    compressed += bytes.length;
  }
}
const archive = join(dist, `escalade-web-page-${version}.tar.gz`);
execFileSync("tar", ["-czf", archive, "--exclude=*.gz", "-C", dist, "page"]);
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;
process.stdout.write(
  `dist/page: ${mib(compressed)} compressed without the GPU's build; ${relative(web, archive)}: ${mib(statSync(archive).size)}\n`,
);

function walk(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
