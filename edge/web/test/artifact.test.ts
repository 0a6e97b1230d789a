// The folder of an artifact over the network: nothing is used that is not what the manifest says.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Fetch, Folder, Memory, parseManifest, planesOf, sha256 } from "../src/artifact";
import { ArtifactError } from "../src/errors";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const FILE = bytesOf("weights that are long enough to be cut in the middle");

/** A server that may end within a file, and knows ranges. */
class Server {
  readonly asked: string[] = [];
  cutAfter: number | null = null;
  gone = false;
  content: Uint8Array<ArrayBuffer> = FILE;
  manifest = "{}";

  readonly fetch: Fetch = async (url, init) => {
    const range = new Headers(init?.headers).get("range");
    this.asked.push(`${url.split("/").pop()}${range === null ? "" : ` ${range}`}`);
    if (this.gone) {
      throw new TypeError("no network");
    }
    if (url.endsWith("manifest.json")) {
      return new Response(this.manifest);
    }
    if (url.endsWith("missing")) {
      return new Response("no", { status: 404 });
    }
    const from = range === null ? 0 : Number(/bytes=(\d+)-/.exec(range)?.[1]);
    const rest = this.content.slice(from);
    const { cutAfter } = this;
    const body =
      cutAfter === null
        ? new Blob([rest]).stream()
        : new ReadableStream({
            pull: (controller) => {
              if (this.cutAfter !== null) {
                this.cutAfter = null;
                controller.enqueue(rest.slice(0, cutAfter));
              } else {
                controller.error(new TypeError("the connection was lost"));
              }
            },
          });
    return new Response(body, { status: range === null ? 200 : 206 });
  };
}

async function entry(content = FILE) {
  return { sha256: await sha256(content), bytes: content.length };
}

test("a file is fetched once, and kept by its digest", async () => {
  const server = new Server();
  const place = new Memory();
  const first = new Folder("http://x/a", place, server.fetch);
  assert.deepEqual(await first.file("w", await entry()), FILE);
  assert.equal(first.told.fetched, FILE.length);
  const second = new Folder("http://x/other", place, server.fetch);
  assert.deepEqual(await second.file("w", await entry()), FILE);
  assert.deepEqual([second.told.fetched, second.told.kept], [0, FILE.length]);
  assert.deepEqual(server.asked, ["w"]);
});

test("a fetch that was cut goes on where it ended", async () => {
  const server = new Server();
  const place = new Memory();
  server.cutAfter = 20;
  const cut = new Folder("http://x/a/", place, server.fetch);
  await assert.rejects(cut.file("w", await entry()), /ended after 20 of 52 bytes/);
  assert.deepEqual(
    await new Folder("http://x/a/", place, server.fetch).file("w", await entry()),
    FILE,
  );
  assert.deepEqual(server.asked, ["w", "w bytes=20-"]);
});

test("a beginning that is another file's is fetched anew", async () => {
  const server = new Server();
  const place = new Memory();
  const { sha256: name } = await entry();
  const writer = await place.open(name, 0);
  await writer.write(bytesOf("something else"));
  assert.deepEqual(
    await new Folder("http://x/", place, server.fetch).file("w", await entry()),
    FILE,
  );
  assert.deepEqual(server.asked, ["w bytes=14-", "w"]);
});

test("what was altered on the way, or in storage, is never handed on", async () => {
  const server = new Server();
  const place = new Memory();
  const right = await entry();
  server.content = FILE.with(3, 0) as Uint8Array<ArrayBuffer>;
  const tampered = new Folder("http://x/", place, server.fetch);
  await assert.rejects(tampered.file("w", right), /altered: sha256 .*, the manifest says/);
  assert.deepEqual(await place.names(), []);
  server.content = bytesOf("short");
  await assert.rejects(tampered.file("w", right), /5 bytes, the manifest says 52/);
  server.content = bytesOf("x".repeat(100));
  await assert.rejects(tampered.file("w", right), /more bytes than 52/);
  const writer = await place.open(right.sha256, 0);
  await writer.write(FILE.with(0, 1) as Uint8Array<ArrayBuffer>);
  server.content = FILE;
  assert.deepEqual(await tampered.file("w", right), FILE);
  const other = await entry(bytesOf("other"));
  await assert.rejects(tampered.file("missing", other), /HTTP 404/);
});

test("a full storage is no reason not to answer", async () => {
  class Full extends Memory {
    override async open(name: string, from: number) {
      const writer = await super.open(name, from);
      return {
        ...writer,
        write: async () => {
          throw new DOMException("no room", "QuotaExceededError");
        },
      };
    }
  }
  const folder = new Folder("http://x/", new Full(), new Server().fetch);
  assert.deepEqual(await folder.file("w", await entry()), FILE);
  assert.equal(folder.told.notKept, "no room");
});

test("without a network the manifest of the last visit serves", async () => {
  const server = new Server();
  const place = new Memory();
  server.manifest = '{"schema":2}';
  const first = new Folder("http://x/a", place, server.fetch);
  await first.settle(await first.manifest());
  server.gone = true;
  const again = new Folder("http://x/a/", place, server.fetch);
  assert.deepEqual(await again.manifest(), bytesOf('{"schema":2}'));
  assert.equal(again.told.offline, true);
  await assert.rejects(new Folder("http://x/b", place, server.fetch).manifest(), ArtifactError);
});

test("files that no kept manifest names are forgotten", async () => {
  const place = new Memory();
  const server = new Server();
  const digests = await Promise.all(["a", "b", "c"].map((one) => sha256(bytesOf(one))));
  for (const digest of digests) {
    await place.open(digest, 0);
  }
  await new Folder("http://x/1", place, server.fetch).settle(bytesOf(`{"a":"${digests[0]}"}`));
  const names = async () => (await place.names()).filter((name) => !name.startsWith("manifest-"));
  assert.deepEqual(await names(), [digests[0]]);
  await place.open(digests[1] ?? "", 0);
  await new Folder("http://x/2", place, server.fetch).settle(bytesOf(`{"b":"${digests[1]}"}`));
  assert.deepEqual(await names(), [digests[0], digests[1]]);
  await new Folder("http://x/1", place, server.fetch).settle(bytesOf("{}"));
  assert.deepEqual(await names(), [digests[1]]);
});

const MANIFEST = {
  schema: 2,
  format: "onnx",
  program: "model.onnx",
  encoder: null,
  files: {
    "model.onnx": { sha256: "0".repeat(64), bytes: 1 },
    "tokenizer.json": { sha256: "1".repeat(64), bytes: 1 },
  },
  model: {
    name: "small",
    revision: "r",
    tokenizer_fingerprint: "f",
    parameters: 10,
    vocabulary_size: 8,
    window: 16,
    end_of_sequence_ids: [2],
    max_new_tokens: 4,
    layers: 1,
    kv_heads: 1,
    head_dim: 2,
    widest: 4,
    kv_bytes: 4,
    decoder_start_id: null,
    chat: null,
  },
  quantization: { scheme: "none", block_size: null, detail: "float32" },
  deferral: { rule: "mean", router: null, threshold: 0.5 },
  golden: [{ prompt: "x", prompt_ids: [1], token_ids: [2], nll: 0.1 }],
  parity: { prompts: 1, same_tokens: 1, mean_abs_delta_nll: 0, max_abs_delta_nll: 0 },
  versions: {},
  created: "2026-11-27",
};

function changed(path: string, value: unknown, of: object = MANIFEST): Uint8Array {
  const copy = structuredClone(of) as Record<string, unknown>;
  const keys = path.split("/");
  const last = keys.pop() ?? "";
  let at: Record<string, unknown> = copy;
  for (const key of keys) {
    at = at[key] as Record<string, unknown>;
  }
  at[last] = value;
  return bytesOf(JSON.stringify(copy));
}

test("a manifest that export writes is read", () => {
  const manifest = parseManifest(bytesOf(JSON.stringify(MANIFEST)), "m");
  assert.equal(manifest.model.window, 16);
});

const PLANED = {
  ...MANIFEST,
  files: { ...MANIFEST.files, "model.onnx.planes": { sha256: "2".repeat(64), bytes: 13 } },
  quantization: {
    scheme: "int4",
    block_size: null,
    detail: "in bits of its own",
    budget: {
      bits: 4.5,
      choices: [{ name: "head", bits: 5, block_size: 16, weights: 16, expected_kl: 0.1 }],
      planes: [
        { bits: 5, integers: 16 },
        { bits: 3, integers: 8 },
      ],
    },
  },
};

test("planes are as many as their file has bytes, or nothing of it is fetched", () => {
  const entryOf = PLANED.files["model.onnx.planes"];
  const { budget } = PLANED.quantization;
  const parsed = parseManifest(bytesOf(JSON.stringify(PLANED)), "m");
  assert.deepEqual(planesOf(parsed), budget.planes);
  const limited = changed("quantization/budget/memory_bits", 6.8, PLANED);
  assert.deepEqual(planesOf(parseManifest(limited, "m")), budget.planes);
  assert.deepEqual(planesOf(parseManifest(bytesOf(JSON.stringify(MANIFEST)), "m")), []);
  const at = "quantization/budget/planes";
  const dotted = / m: quantization\.budget\.planes/;
  for (const [path, value, message] of [
    [`${at}/0/bits`, 4, /planes\.0\.bits: must be 3, 5 or 6, got 4/],
    [`${at}/0/bits`, "5", /planes\.0\.bits: must be 3, 5 or 6, got "5"/],
    [`${at}/1/integers`, 12, /planes\.1\.integers: must be a multiple of 8, got 12/],
    [`${at}/1/integers`, 0, dotted],
    [`${at}/1/integers`, -8, dotted],
    [`${at}/1/integers`, 8.5, dotted],
    [`${at}/1/integers`, 2 ** 45, dotted],
    [`${at}/1/integers`, undefined, dotted],
    [`${at}/1/more`, 1, dotted],
    [at, null, dotted],
    [at, {}, dotted],
    [at, [budget.planes[0]], /model\.onnx\.planes: must have 10 bytes of planes, has 13/],
    [at, [], /model\.onnx\.planes: must have 0 bytes of planes, has 13/],
    [at, undefined, /model\.onnx\.planes: must have 0 bytes of planes, has 13/],
    [`${at}/1/integers`, 2 ** 44, /must have 6597069766666 bytes of planes, has 13/],
    ["files/model.onnx.planes", undefined, /must have 13 bytes of planes, has 0/],
    ["files/model.onnx.planes", { ...entryOf, bytes: 12 }, /has 12/],
    ["quantization/budget", null, /quantization\.budget/],
    ["quantization/budget/memory_bits", "6", /quantization\.budget\.memory_bits/],
    ["quantization/budget/more", 1, /quantization\.budget\.more/],
    ["quantization/budget/choices", undefined, /quantization\.budget\.choices/],
  ] as const) {
    assert.throws(() => parseManifest(changed(path, value, PLANED), "m"), message, path);
  }
  const large = structuredClone(PLANED);
  const { files, quantization } = large;
  files["model.onnx.planes"].bytes = 3 * 2 ** 29;
  quantization.budget.planes = [{ bits: 3, integers: 2 ** 32 }];
  parseManifest(bytesOf(JSON.stringify(large)), "m");
  quantization.budget.planes = [{ bits: 6, integers: 2 ** 31 + 8 }];
  files["model.onnx.planes"].bytes = 3 * 2 ** 29 + 6;
  assert.throws(
    () => parseManifest(bytesOf(JSON.stringify(large)), "m"),
    /joins to 2147483656 bytes; a browser holds at most 2147483648/,
  );
});

test("a manifest that is none is refused, and the message says where", () => {
  const entryOf = MANIFEST.files["model.onnx"];
  for (const [path, value, message] of [
    ["schema", 3, /schema 3; this version reads 2/],
    ["format", "executorch", /format: must be onnx/],
    ["encoder", "encoder.onnx", /encoder-decoder/],
    ["classification", {}, /generate alone/],
    ["extra", 1, /extra/],
    ["model/window", 0, /model.window/],
    ["model/decoder_start_id", 0, /encoder-decoder/],
    ["files/..%2Fx", entryOf, /leaves the artifact's folder/],
    ["files/MODEL.onnx", entryOf, /differ by case alone/],
    ["files/manifest.json", entryOf, /must not list/],
    ["program", "other.onnx", /does not list other.onnx/],
    ["deferral/rule", "median", /deferral.rule must be one of/],
    ["deferral/rule", "router", /router must name a file/],
    ["deferral/threshold", null, null],
    ["golden", [{ ...MANIFEST.golden[0], token_ids: [8] }], /must be in 0-7/],
  ] as const) {
    const raw = changed(path, value);
    if (message === null) {
      parseManifest(raw, "m");
    } else {
      assert.throws(() => parseManifest(raw, "m"), message, path);
    }
  }
  for (const text of ["", "[]", "null", "{", '"x"']) {
    assert.throws(() => parseManifest(bytesOf(text), "m"), ArtifactError);
  }
  assert.throws(() => parseManifest(new Uint8Array(2 ** 20 + 1), "m"), /more than/);
});
