// An opened artifact: text in, scored tokens out; knows no threshold, no network.

import {
  type Folder,
  type Golden,
  type Manifest,
  parseManifest,
  sha256,
  TOKENIZER_NAME,
} from "../artifact";
import { type DeferralRule, MeanRule, Router, ruleNamed } from "../deferral";
import { ArtifactError, ParityError, PromptError } from "../errors";
import { GrowingText, Tokenizer } from "../text";
import { type Files, taken } from "./files";
import { type Ort, type Provider, Runtime, type Step } from "./runtime";

// What other machines' kernels may differ by; edge/escalade/edge/generation/artifact.py.
const EXACT_NLL = 1e-3;
const ROUNDED_NLL = 0.05;
const EXACT_SCHEMES = new Set(["none", "float16"]);
// No tokenizer makes less than a token of so many characters; it bounds what is tokenized at all.
const MOST_CHARACTERS_A_TOKEN = 1024;

/** Why a response ended. */
export type Stop = "end" | "length" | "cancelled" | "stopped_early";

/** What one step added. */
export interface Delta {
  /** Null where nothing was generated any more: cancelled. */
  step: Step | null;
  /** May be empty: half of a character is held back. */
  text: string;
  /** On the last piece. */
  stop: Stop | null;
}

/** What opening an artifact may be told. */
export interface OpenArtifact {
  provider: Provider;
  /** What the manifest's own SHA-256 must be: who knows it trusts no server. */
  manifestSha256?: string | undefined;
}

/** A verified artifact with its program loaded and its tokenizer ready. */
export class Artifact {
  private turn = 0;
  /** One run of the program at a time. */
  private free: Promise<void> = Promise.resolve();

  private constructor(
    readonly manifest: Manifest,
    readonly rule: DeferralRule,
    private readonly tokenizer: Tokenizer,
    private readonly runtime: Runtime,
  ) {}

  /** Fetch and verify every file, load the program and hold it to its surest golden answer. */
  static async open(folder: Folder, ort: Ort, options: OpenArtifact): Promise<Artifact> {
    const raw = await folder.manifest();
    if (options.manifestSha256 !== undefined && (await sha256(raw)) !== options.manifestSha256) {
      throw new ArtifactError(
        `${folder.url}: its manifest's sha256 is ${(await sha256(raw)).slice(0, 12)}, not ${options.manifestSha256.slice(0, 12)}`,
      );
    }
    const manifest = parseManifest(raw, `${folder.url}manifest.json`);
    const files: Files = new Map();
    for (const [name, entry] of Object.entries(manifest.files)) {
      files.set(name, await folder.file(name, entry));
    }
    const tokenizer = new Tokenizer(taken(files, TOKENIZER_NAME), folder.url + TOKENIZER_NAME);
    const { router, rule } = manifest.deferral;
    const scored = router
      ? Router.read(taken(files, router), folder.url + router)
      : ruleNamed(rule);
    const runtime = await Runtime.open(ort, manifest, files, options.provider);
    const artifact = new Artifact(manifest, scored, tokenizer, runtime);
    artifact.checkTokenizer();
    // The surest answer: a near tie may fall otherwise on another processor.
    const [surest] = [...manifest.golden].sort((one, other) => one.nll - other.nll);
    if (surest !== undefined) {
      await artifact.checkGolden(surest);
    }
    await folder.settle(raw);
    return artifact;
  }

  /** Prompt ids; throws `PromptError` where it is empty or leaves no room for an answer. */
  encode(prompt: string): number[] {
    if (prompt.trim() === "") {
      throw new PromptError("the prompt is empty; at least 1 character is needed");
    }
    const { window } = this.manifest.model;
    const most = window * MOST_CHARACTERS_A_TOKEN;
    if (prompt.length > most) {
      throw new PromptError(`the prompt has ${prompt.length} characters; at most ${most} are read`);
    }
    if (!prompt.isWellFormed()) {
      throw new PromptError("the prompt is not valid Unicode text");
    }
    const ids = this.tokenizer.encode(prompt);
    if (ids.length < 1 || ids.length >= window) {
      throw new PromptError(
        `the prompt has ${ids.length} tokens; this model takes 1 to ${window - 1} (window ${window})`,
      );
    }
    return ids;
  }

  /** The text of tokens, special ones left out. */
  decode(ids: readonly number[]): string {
    return this.tokenizer.decode(ids);
  }

  /** What one token looks like. */
  piece(id: number): string {
    return this.tokenizer.piece(id);
  }

  /** How many tokens a response may have. */
  roomFor(prompt: readonly number[], asked = this.manifest.model.max_new_tokens): number {
    if (!(asked >= 1)) {
      throw new RangeError(`maxNewTokens must be at least 1, got ${asked}`);
    }
    return Math.min(asked, this.manifest.model.window - prompt.length);
  }

  /**
   * A response, piece by piece. Beginning another ends the one before, which says `cancelled`.
   *
   * @param stopWhen told of each log-probability; true ends the response early.
   */
  async *stream(
    prompt: readonly number[],
    longest: number,
    stopWhen: (logprob: number) => boolean = () => false,
    cancelled: () => boolean = () => false,
  ): AsyncGenerator<Delta> {
    this.turn += 1;
    const turn = this.turn;
    const before = this.free;
    let done = () => {};
    this.free = new Promise((resolve) => {
      done = resolve;
    });
    try {
      await before;
      const over = () => this.turn !== turn || cancelled();
      const text = new GrowingText((ids) => this.decode(ids));
      let made = 0;
      for await (const step of this.runtime.generate(prompt, longest, over)) {
        made += 1;
        const piece = step.ended ? "" : text.add(step.id);
        const stop = stopOf(step, made === longest, stopWhen);
        yield {
          step,
          text: stop === "end" || stop === "length" ? piece + text.end().rest : piece,
          stop,
        };
        if (stop !== null) {
          return;
        }
      }
      yield { step: null, text: text.end().rest, stop: "cancelled" };
    } finally {
      done();
    }
  }

  /** Hold the tokenizer against every golden prompt; throws `ParityError`. */
  checkTokenizer(): void {
    for (const { prompt, prompt_ids } of this.manifest.golden) {
      const ids = this.tokenizer.encode(prompt);
      if (ids.join() !== prompt_ids.join()) {
        throw new ParityError(
          `golden prompt '${prompt.slice(0, 80)}' is read as ${ids.slice(0, 20)}, the manifest says ${prompt_ids.slice(0, 20)}: this tokenizer.json does not run in a browser`,
        );
      }
    }
  }

  /**
   * Hold the program against one golden answer; throws `ParityError`.
   *
   * Where kernels here round otherwise than those the answer was made with, an answer may go another
   * way at a near tie, and another from there on: its tokens are given then, and their NLL is held.
   */
  async checkGolden({ prompt, prompt_ids, token_ids, nll }: Golden): Promise<void> {
    const shown = `golden prompt '${prompt.slice(0, 80)}'`;
    if (this.isExact) {
      const ids: number[] = [];
      for await (const step of this.runtime.generate(prompt_ids, token_ids.length)) {
        ids.push(step.id);
      }
      if (ids.join() !== token_ids.join()) {
        throw new ParityError(`${shown} gave tokens ${ids}, the manifest says ${token_ids}`);
      }
    }
    const found = new MeanRule().score(await this.runtime.score(prompt_ids, token_ids));
    const most = this.isExact ? EXACT_NLL : ROUNDED_NLL;
    if (!(Math.abs(found - nll) <= most)) {
      throw new ParityError(
        `${shown} gave NLL ${found.toFixed(4)}, the manifest says ${nll.toFixed(4)} (tolerance ${most})`,
      );
    }
  }

  /** Whether other machines compute the same but for the order of additions. */
  private get isExact(): boolean {
    return EXACT_SCHEMES.has(this.manifest.quantization.scheme);
  }

  /** Let the program go. */
  async close(): Promise<void> {
    this.turn += 1;
    await this.free;
    await this.runtime.close();
  }
}

function stopOf(step: Step, last: boolean, stopWhen: (logprob: number) => boolean): Stop | null {
  if (step.ended) {
    return "end";
  }
  if (last) {
    return "length";
  }
  return stopWhen(step.logprob) ? "stopped_early" : null;
}
