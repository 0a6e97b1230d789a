// Generates src/wire/gen from the wire contract, with protoc of the repository's .venv.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const web = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const root = resolve(web, "../..");
const out = resolve(web, "src/wire/gen");
mkdirSync(out, { recursive: true });
execFileSync(
  resolve(root, ".venv/bin/python"),
  [
    "-m",
    "grpc_tools.protoc",
    "-Iprotos",
    `--plugin=protoc-gen-es=${resolve(web, "node_modules/.bin/protoc-gen-es")}`,
    `--es_out=${out}`,
    "--es_opt=target=ts",
    "escalade/v1/cascade.proto",
  ],
  { cwd: root, stdio: "inherit" },
);
