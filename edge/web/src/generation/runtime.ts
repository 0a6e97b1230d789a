// Runs an ONNX causal LM with onnxruntime-web; knows no text, no network.
//
// The cache of keys and values is what the program gave the step before, handed back as it is: no
// line here copies it. On a GPU it never leaves the GPU. In WebAssembly onnxruntime-web itself moves
// tensors between its memory and ours; what that costs is in docs/web.md.

import type { InferenceSession, Tensor } from "onnxruntime-common";
import type { Manifest } from "../artifact";
import { ArtifactError } from "../errors";
import { dataTaken, type Files, taken } from "./files";

/** One generated token. */
export interface Step {
  id: number;
  /** Natural logarithm, under the model, out of the same forward pass. */
  logprob: number;
  /** Whether this token is an end-of-sequence token. */
  ended: boolean;
}

/** Where a program runs. */
export type Provider = "wasm" | "webgpu";

/** onnxruntime-web, in the build that the provider takes. */
export type Ort = Pick<typeof import("onnxruntime-web"), "InferenceSession" | "Tensor" | "env">;

// Names that an exported program has; edge/escalade/edge/runtimes/program.py.
const INPUT_IDS = "input_ids";
const ATTENTION_MASK = "attention_mask";
const NEXT_TOKEN = "next_token";
const LOGPROB = "logprob";
const LOGITS = "logits";
const PAST = "past_key_values.";
const PRESENT = "present.";
// Tokens of a prompt that are read in one piece: a cancel waits for one.
const CHUNK_TOKENS = 128;

type Said = InferenceSession.OnnxValueMapType;

/** How far a text has been read. */
interface State {
  cache: Record<string, Tensor>;
  held: number;
}

/** A program that generates. */
export class Runtime {
  private readonly past: string[];
  private readonly outputs: string[];

  private constructor(
    private readonly ort: Ort,
    private readonly session: InferenceSession,
    private readonly manifest: Manifest,
    private readonly provider: Provider,
  ) {
    this.past = session.inputNames.filter((name) => name.startsWith(PAST));
    this.outputs = [NEXT_TOKEN, LOGPROB, ...this.past.map(presentOf)];
    const wanted = [INPUT_IDS, ATTENTION_MASK, `${PAST}0.key`, LOGITS, ...this.outputs];
    const there = new Set([...session.inputNames, ...session.outputNames]);
    const lacks = wanted.filter((name) => !there.has(name));
    if (lacks.length > 0) {
      throw new ArtifactError(
        `${manifest.program}: the graph lacks ${lacks.join(", ")}; was it written by \`escalade export\`?`,
      );
    }
  }

  /**
   * Load a program.
   *
   * @param files of the artifact by name: the program, and the data that it may name. They are taken
   *   out, so that nobody holds them beside what onnxruntime-web makes of them.
   */
  static async open(
    ort: Ort,
    manifest: Manifest,
    files: Files,
    provider: Provider,
  ): Promise<Runtime> {
    const program = taken(files, manifest.program);
    const externalData = dataTaken(manifest, files);
    const past = Array.from({ length: manifest.model.layers }, (_, layer) => layer).flatMap(
      (layer) => [`${PRESENT}${layer}.key`, `${PRESENT}${layer}.value`],
    );
    const onGpu = Object.fromEntries(past.map((name) => [name, "gpu-buffer" as const]));
    try {
      const session = await ort.InferenceSession.create(program, {
        executionProviders: [provider],
        externalData,
        logSeverityLevel: 3,
        ...(provider === "webgpu" ? { preferredOutputLocation: onGpu } : {}),
      });
      return new Runtime(ort, session, manifest, provider);
    } catch (error) {
      if (error instanceof ArtifactError) {
        throw error;
      }
      const why = String((error as Error).message ?? error).split("\n")[0];
      throw new ArtifactError(`${manifest.program}: onnxruntime-web cannot load it: ${why}`);
    }
  }

  /**
   * A step for each token until the end of sequence or `longest`.
   *
   * The caller has checked that prompt and response fit into the window.
   *
   * @param prompt at least 1 id.
   * @param longest at least 1.
   * @param cancelled asked before each chunk of the prompt and each token.
   */
  async *generate(
    prompt: readonly number[],
    longest: number,
    cancelled: () => boolean = () => false,
  ): AsyncGenerator<Step> {
    const ends = new Set(this.manifest.model.end_of_sequence_ids);
    const state = { cache: this.empty(), held: 0 };
    try {
      let unread = prompt;
      for (let made = 0; made < longest; made += 1) {
        const said = await this.read(state, unread, this.outputs, cancelled);
        if (said === null) {
          return;
        }
        const step = stepOf(said, ends);
        yield step;
        if (step.ended) {
          return;
        }
        unread = [step.id];
      }
    } finally {
      this.release(state.cache);
    }
  }

  /**
   * The log-probabilities of given tokens after a prompt.
   *
   * @param tokens at least 1.
   */
  async score(prompt: readonly number[], tokens: readonly number[]): Promise<number[]> {
    const state = { cache: this.empty(), held: 0 };
    const logprobs: number[] = [];
    try {
      let unread = prompt;
      for (const token of tokens) {
        const said = await this.read(state, unread, [...this.outputs, LOGITS]);
        logprobs.push(logprobOf(said?.[LOGITS]?.data as Float32Array, token));
        unread = [token];
      }
    } finally {
      this.release(state.cache);
    }
    return logprobs;
  }

  /** Let the program go. */
  async close(): Promise<void> {
    await this.session.release();
  }

  /** Put tokens through the model, in chunks; what it says of the next one, or null: cancelled. */
  private async read(
    state: State,
    ids: readonly number[],
    outputs: readonly string[],
    cancelled: () => boolean = () => false,
  ): Promise<Said | null> {
    let said: Said | null = null;
    for (let at = 0; at < ids.length; at += CHUNK_TOKENS) {
      if (cancelled()) {
        return null;
      }
      const chunk = ids.slice(at, at + CHUNK_TOKENS);
      state.held += chunk.length;
      said = await this.run(chunk, state, outputs);
      const next = this.cacheOf(said);
      this.release(state.cache);
      state.cache = next;
    }
    return said;
  }

  private async run(
    ids: readonly number[],
    { cache, held }: State,
    outputs: readonly string[],
  ): Promise<Said> {
    const { Tensor } = this.ort;
    const feeds = {
      ...cache,
      [INPUT_IDS]: new Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]),
      [ATTENTION_MASK]: new Tensor("int64", new BigInt64Array(held).fill(1n), [1, held]),
    };
    try {
      return await this.session.run(feeds, outputs);
    } catch (error) {
      const why = String((error as Error).message ?? error).split("\n")[0];
      throw new ArtifactError(`${this.manifest.program}: ${why}`);
    }
  }

  private cacheOf(said: Said): Record<string, Tensor> {
    const cache: Record<string, Tensor> = {};
    for (const name of this.past) {
      const tensor = said[presentOf(name)];
      if (tensor !== undefined) {
        cache[name] = tensor as Tensor;
      }
    }
    return cache;
  }

  private empty(): Record<string, Tensor> {
    const { kv_heads, head_dim } = this.manifest.model;
    const cache: Record<string, Tensor> = {};
    for (const name of this.past) {
      cache[name] = new this.ort.Tensor("float32", new Float32Array(0), [1, kv_heads, 0, head_dim]);
    }
    return cache;
  }

  private release(cache: Record<string, Tensor>): void {
    if (this.provider === "webgpu") {
      for (const tensor of Object.values(cache)) {
        tensor.dispose();
      }
    }
  }
}

function stepOf(said: Said, ends: ReadonlySet<number>): Step {
  const token = said[NEXT_TOKEN]?.data as BigInt64Array | undefined;
  const logprob = said[LOGPROB]?.data as Float32Array | undefined;
  const id = Number(token?.[0]);
  return { id, logprob: logprob?.[0] ?? Number.NaN, ended: ends.has(id) };
}

/** `logit - logsumexp(logits)`, of `(V,)` logits. */
function logprobOf(logits: Float32Array, token: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const logit of logits) {
    most = Math.max(most, logit);
  }
  let mass = 0;
  for (const logit of logits) {
    mass += Math.exp(logit - most);
  }
  return (logits[token] ?? Number.NaN) - most - Math.log(mass);
}

function presentOf(past: string): string {
  return PRESENT + past.slice(PAST.length);
}
