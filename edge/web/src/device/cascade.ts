// The whole: a query is answered on this device or goes up a tier; knows no page, no worker.

import { defers, type Early, EarlyStop } from "../deferral";
import { CloudError } from "../errors";
import type { Artifact, Delta } from "../generation";
import type { Asked, Cloud, Heard } from "../wire";

/** What a query may be told. */
export interface AskOptions {
  /** tau in place of the manifest's. */
  threshold?: number | undefined;
  /** Whether the answer may end before it is complete, where it will be deferred anyway. */
  early?: Early | undefined;
  maxNewTokens?: number | undefined;
}

/** A token of the device's answer. */
export interface Token {
  id: number;
  text: string;
  logprob: number;
  ended: boolean;
}

/** What happens to a query, as it happens. */
export type Event =
  | { kind: "token"; token: Token; text: string }
  | { kind: "scored"; score: number | null; threshold: number | null; deferred: boolean }
  | { kind: "piece"; text: string };

/** What became of a query: answered by the device, deferred and answered above, or degraded. */
export interface Answer {
  outcome: "answered" | "deferred" | "degraded";
  text: string;
  /** What the device said, whoever answered. */
  device: {
    text: string;
    tokens: Token[];
    /** Null where it was stopped early: the score of the whole is not known. */
    score: number | null;
    seconds: number;
  };
  rule: string;
  threshold: number | null;
  cloud: Heard | null;
  /** Why the tier above did not answer, though it was due. */
  reason: string | null;
  /** From the question to the answer. */
  seconds: number;
  /** What asking above takes, or would have taken; null where there is nobody above. */
  asked: Asked | null;
}

/** One artifact on this device, and perhaps a tier above. */
export class Cascade {
  private current = new AbortController();

  constructor(
    readonly artifact: Artifact,
    private readonly cloud: Cloud | null,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /**
   * Ask; a query that is under way, here or above, is ended, and its answer is null.
   *
   * @param onEvent told of everything on the way.
   */
  async ask(
    prompt: string,
    options: AskOptions = {},
    onEvent: (event: Event) => void = () => {},
  ): Promise<Answer | null> {
    const began = this.now();
    this.current.abort();
    this.current = new AbortController();
    const { signal } = this.current;
    const { artifact } = this;
    const { deferral, model } = artifact.manifest;
    const ids = artifact.encode(prompt);
    const longest = artifact.roomFor(ids, options.maxNewTokens);
    const threshold = options.threshold ?? deferral.threshold ?? null;
    const early = this.earlyStop(threshold, longest, options.early ?? "off");
    const tokens: Token[] = [];
    let text = "";
    let last: Delta["stop"] = null;
    for await (const { step, text: piece, stop } of artifact.stream(ids, longest, (logprob) =>
      early === null ? false : early.add(logprob),
    )) {
      text += piece;
      last = stop;
      if (step !== null) {
        const token = { ...step, text: artifact.piece(step.id) };
        tokens.push(token);
        onEvent({ kind: "token", token, text: piece });
      }
    }
    if (last === "cancelled" || tokens.length === 0 || signal.aborted) {
      return null;
    }
    const logprobs = tokens.map((token) => token.logprob);
    const score = last === "stopped_early" ? null : artifact.rule.score(logprobs);
    const above = this.cloud !== null && threshold !== null;
    const deferred = above && (score === null || defers(score, threshold));
    const seconds = (this.now() - began) / 1e3;
    onEvent({ kind: "scored", score, threshold, deferred });
    const asked: Asked | null = above
      ? {
          text: prompt,
          ids,
          tokenizerFingerprint: model.tokenizer_fingerprint,
          vocabularySize: model.vocabulary_size,
          draft: {
            ids: tokens.filter((token) => !token.ended).map((token) => token.id),
            logprobs,
            score: score !== null && Number.isFinite(score) ? score : null,
            threshold,
            rule: artifact.rule.name,
          },
          maxNewTokens: options.maxNewTokens ?? null,
        }
      : null;
    const answer: Answer = {
      outcome: "answered",
      text,
      device: { text, tokens, score, seconds },
      rule: artifact.rule.name,
      threshold,
      cloud: null,
      reason: null,
      seconds,
      asked,
    };
    return deferred && asked !== null ? this.climb(answer, asked, began, onEvent, signal) : answer;
  }

  private async climb(
    answer: Answer,
    asked: Asked,
    began: number,
    onEvent: (event: Event) => void,
    signal: AbortSignal,
  ): Promise<Answer | null> {
    try {
      const cloud = await this.cloud?.ask(
        asked,
        (text) => onEvent({ kind: "piece", text }),
        signal,
      );
      const seconds = (this.now() - began) / 1e3;
      if (cloud !== undefined) {
        return { ...answer, outcome: "deferred", text: cloud.text, cloud, seconds };
      }
    } catch (error) {
      if (signal.aborted) {
        return null;
      }
      if (!(error instanceof CloudError)) {
        throw error;
      }
      answer.reason = `${error.reason}: ${error.message}`;
    }
    // The best answer that there is stands; one that was stopped early is only how it begins.
    return { ...answer, outcome: "degraded", seconds: (this.now() - began) / 1e3 };
  }

  private earlyStop(threshold: number | null, longest: number, early: Early): EarlyStop | null {
    if (early === "off" || threshold === null || this.cloud === null) {
      return null;
    }
    const { deferral } = this.artifact.manifest;
    // What is likely was calibrated at the manifest's threshold, and holds nowhere else.
    const calibrated = threshold === deferral.threshold ? (deferral.early ?? null) : null;
    return new EarlyStop(
      this.artifact.rule,
      threshold,
      longest,
      early === "likely" ? calibrated : null,
    );
  }
}
