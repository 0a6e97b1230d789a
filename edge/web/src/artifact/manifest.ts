// The manifest of an artifact, as much of it as a browser acts on; fetches nothing.
//
// Written by `escalade export` (schema 2, edge/escalade/edge/artifact/manifest.py). What names a
// kind of model that does not run here is refused by name; nothing is ignored that changes answers.

import * as v from "valibot";
import { ruleNamed } from "../deferral";
import { ArtifactError } from "../errors";
import { bytesJoined, bytesStored, PLANE_BITS, type PlanesEntry, planesName } from "./planes";

export const MANIFEST_NAME = "manifest.json";
export const TOKENIZER_NAME = "tokenizer.json";
const MANIFEST_SCHEMA = 2;
/** A manifest is a few kilobytes; reading more than this would be somebody's attack. */
export const MAX_MANIFEST_BYTES = 1 << 20;
/** What a browser can hold in one buffer, and a tab in memory: 2 GiB. */
export const MAX_FILE_BYTES = 2 ** 31;

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

const count = (most: number) => v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(most));
const ids = v.array(v.pipe(v.number(), v.integer(), v.minValue(0)));
const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
const finite = v.pipe(v.number(), v.finite());

const FILE = v.strictObject({
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits")),
  bytes: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_FILE_BYTES)),
});

const MODEL = v.strictObject({
  name: v.string(),
  revision: v.string(),
  tokenizer_fingerprint: v.string(),
  parameters: count(2 ** 44),
  vocabulary_size: count(2 ** 24),
  window: count(2 ** 24),
  end_of_sequence_ids: v.pipe(ids, v.minLength(1)),
  max_new_tokens: count(2 ** 24),
  layers: count(2 ** 12),
  kv_heads: count(2 ** 12),
  head_dim: count(2 ** 14),
  widest: count(2 ** 20),
  kv_bytes: v.optional(v.literal(4, "must be 4: a browser keeps float32"), 4),
  decoder_start_id: v.nullish(v.null("an encoder-decoder does not run in a browser")),
  // A template of a conversation; here prompts are texts, and it is left alone.
  chat: v.nullish(v.record(v.string(), v.unknown())),
});

const EARLY = v.strictObject({
  statistic: v.picklist(["mean", "sum", "min"]),
  level: finite,
  min_tokens: count(2 ** 24),
  miss_rate: share,
  delta: share,
  n: v.number(),
  misses: v.number(),
  stopped: share,
  tokens_saved: share,
});

const DEFERRAL = v.strictObject({
  rule: v.string(),
  router: v.nullish(v.string()),
  router_training: v.nullish(v.record(v.string(), v.unknown())),
  threshold: v.nullish(finite),
  calibration: v.nullish(v.record(v.string(), v.unknown())),
  early: v.nullish(EARLY),
});

const GOLDEN = v.strictObject({
  prompt: v.string(),
  prompt_ids: v.pipe(ids, v.minLength(1)),
  token_ids: v.pipe(ids, v.minLength(1)),
  nll: v.number(),
});

const PLANES = v.strictObject({
  bits: v.picklist(PLANE_BITS, ({ received }) => `must be 3, 5 or 6, got ${received}`),
  integers: v.pipe(
    count(2 ** 44),
    v.multipleOf(8, ({ received }) => `must be a multiple of 8, got ${received}`),
  ),
});

// Only planes change how a program is loaded; the rest is for people.
const BUDGET = v.strictObject({
  bits: finite,
  memory_bits: v.optional(finite),
  choices: v.array(v.record(v.string(), v.unknown())),
  planes: v.optional(v.array(PLANES)),
  lost: v.optional(v.record(v.string(), v.unknown())),
});

const MANIFEST = v.strictObject({
  schema: v.literal(MANIFEST_SCHEMA),
  format: v.literal("onnx", "must be onnx: a browser runs no other"),
  program: v.string(),
  encoder: v.nullish(v.null("an encoder-decoder does not run in a browser")),
  files: v.record(v.string(), FILE),
  model: MODEL,
  quantization: v.strictObject({
    scheme: v.string(),
    block_size: v.nullish(v.number()),
    detail: v.string(),
    budget: v.optional(BUDGET),
  }),
  deferral: DEFERRAL,
  golden: v.array(GOLDEN),
  parity: v.record(v.string(), v.number()),
  versions: v.record(v.string(), v.string()),
  created: v.string(),
});

export type Manifest = v.InferOutput<typeof MANIFEST>;
export type Golden = v.InferOutput<typeof GOLDEN>;
export type FileEntry = v.InferOutput<typeof FILE>;

/** Of matrices in 3, 5 and 6 bits, in the order of their file; empty where there are none. */
export function planesOf(manifest: Manifest): readonly PlanesEntry[] {
  return manifest.quantization.budget?.planes ?? [];
}

/**
 * Read a manifest out of its bytes; the files it names are not looked at.
 *
 * @param where the bytes came from, for messages.
 */
export function parseManifest(raw: Uint8Array, where: string): Manifest {
  if (raw.length > MAX_MANIFEST_BYTES) {
    throw new ArtifactError(`${where}: more than ${MAX_MANIFEST_BYTES} bytes`);
  }
  const content = jsonOf(raw, where);
  const schema = content.schema;
  if (schema !== MANIFEST_SCHEMA) {
    throw new ArtifactError(`${where}: schema ${schema}; this version reads ${MANIFEST_SCHEMA}`);
  }
  for (const kind of ["classification", "embedding"]) {
    if (content[kind] !== undefined) {
      throw new ArtifactError(`${where}: ${kind}: a browser runs models that generate alone`);
    }
  }
  const parsed = v.safeParse(MANIFEST, content, { abortEarly: true });
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new ArtifactError(`${where}: ${v.getDotPath(issue) ?? "manifest"}: ${issue.message}`);
  }
  check(parsed.output, where);
  return parsed.output;
}

function jsonOf(raw: Uint8Array, where: string): Record<string, unknown> {
  try {
    const content: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
    if (typeof content === "object" && content !== null && !Array.isArray(content)) {
      return content as Record<string, unknown>;
    }
  } catch (error) {
    throw new ArtifactError(`${where}: ${(error as Error).message}`);
  }
  throw new ArtifactError(`${where}: its top level must be an object`);
}

function check(manifest: Manifest, where: string): void {
  const need = (holds: boolean, message: string) => {
    if (!holds) {
      throw new ArtifactError(`${where}: ${message}`);
    }
  };
  const listed = new Map<string, string>();
  for (const name of Object.keys(manifest.files)) {
    need(NAME.test(name), `file name '${name.slice(0, 200)}' leaves the artifact's folder`);
    const twin = listed.get(name.toLowerCase());
    need(twin === undefined, `file names ${twin} and ${name} differ by case alone`);
    listed.set(name.toLowerCase(), name);
  }
  need(!listed.has(MANIFEST_NAME), `files must not list ${MANIFEST_NAME}`);
  const { deferral, model } = manifest;
  for (const name of [
    manifest.program,
    TOKENIZER_NAME,
    ...(deferral.router ? [deferral.router] : []),
  ]) {
    need(Object.hasOwn(manifest.files, name), `files does not list ${name.slice(0, 80)}`);
  }
  const planes = planesName(manifest.program);
  const entries = planesOf(manifest);
  const has = Object.hasOwn(manifest.files, planes) ? manifest.files[planes]?.bytes : 0;
  need(
    has === bytesStored(entries),
    `${planes}: must have ${bytesStored(entries)} bytes of planes, has ${has}`,
  );
  need(
    bytesJoined(entries) <= MAX_FILE_BYTES,
    `${planes}: joins to ${bytesJoined(entries)} bytes; a browser holds at most ${MAX_FILE_BYTES}`,
  );
  need(
    (deferral.rule === "router") === (typeof deferral.router === "string"),
    `deferral.router must name a file where the rule is 'router', and nowhere else`,
  );
  if (typeof deferral.router !== "string") {
    try {
      ruleNamed(deferral.rule);
    } catch (error) {
      throw new ArtifactError(`${where}: deferral.${(error as Error).message}`);
    }
  }
  need(
    !deferral.early || typeof deferral.threshold === "number",
    "deferral.early: there is no threshold that a score could reach",
  );
  for (const golden of manifest.golden) {
    const last = model.vocabulary_size - 1;
    need(
      [...golden.prompt_ids, ...golden.token_ids].every((id) => id <= last),
      `golden prompt '${golden.prompt.slice(0, 80)}': token ids must be in 0-${last}`,
    );
    need(
      golden.prompt_ids.length < model.window,
      `golden prompt '${golden.prompt.slice(0, 80)}': longer than the window, ${model.window}`,
    );
  }
}
