// Ends a response before it is complete, where its query will be deferred anyway; knows no model.

import type { DeferralRule, RunningBound } from "./rule";

/** What a manifest says of when deferral is likely; see `EarlyEntry` of the Python device. */
export interface Likely {
  statistic: "mean" | "sum" | "min";
  level: number;
  min_tokens: number;
}

/** When a tier may end before its answer does. */
export type Early = "off" | "certain" | "likely";

/** Whether a response may end here. One for each response; tell it of each token once. */
export class EarlyStop {
  private readonly bound: RunningBound;
  private isCertain: boolean;
  private isLikely = false;
  private seen = 0;
  private sum = 0;
  private most = Number.NEGATIVE_INFINITY;

  /**
   * @param rule the deferral rule.
   * @param threshold tau.
   * @param longest how many tokens the response may have, >= 1.
   * @param likely stop too where deferral is likely, as calibrated.
   */
  constructor(
    rule: DeferralRule,
    private readonly threshold: number,
    longest: number,
    private readonly likely: Likely | null = null,
  ) {
    this.bound = rule.runningBound(longest);
    this.isCertain = threshold <= rule.lowest;
  }

  /** Whether every way to go on ends with a score that defers. */
  get certain(): boolean {
    return this.isCertain;
  }

  /** Go on by a token; whether to stop. */
  add(logprob: number): boolean {
    this.seen += 1;
    const bound = this.bound(logprob);
    this.isCertain ||= bound >= this.threshold;
    if (this.likely !== null) {
      const reached = this.statistic(logprob, this.likely.statistic) >= this.likely.level;
      this.isLikely ||= reached && this.seen >= this.likely.min_tokens;
    }
    return this.isCertain || this.isLikely;
  }

  private statistic(logprob: number, name: Likely["statistic"]): number {
    this.sum -= logprob;
    // As Python's max: a NaN takes no place.
    if (-logprob > this.most) {
      this.most = -logprob;
    }
    if (name === "min") {
      return this.most;
    }
    return name === "sum" ? this.sum : this.sum / this.seen;
  }
}
