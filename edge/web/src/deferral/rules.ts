// Deferral rules of the token log-probabilities; knows no network, no model.
//
// Those of the CAT paper (arXiv 2406.00060, equation 5 and appendix C.1), as in
// `escalade/edge/deferral/rules.py`. The bounds are proved in docs/deferral.md.

import { areLogprobs, DeferralRule, lowered, type RunningBound } from "./rule";
import { pairwiseSum } from "./sums";

/** Normalized negative log-likelihood, equation 5: the default. */
export class MeanRule extends DeferralRule {
  readonly name = "mean";

  score(logprobs: readonly number[]): number {
    return areLogprobs(logprobs) ? -(pairwiseSum(logprobs) / logprobs.length) : Number.NaN;
  }

  protected running(longest: number): RunningBound {
    const units = 4 * longest + 8;
    let total = 0;
    return (logprob) => {
      total -= logprob;
      return lowered(total / longest, units);
    };
  }
}

/** Negative log-likelihood of the whole response: long ones score higher. */
export class SumRule extends DeferralRule {
  readonly name = "sum";

  score(logprobs: readonly number[]): number {
    return areLogprobs(logprobs) ? -pairwiseSum(logprobs) : Number.NaN;
  }

  protected running(longest: number): RunningBound {
    const units = 4 * longest + 8;
    let total = 0;
    return (logprob) => {
      total -= logprob;
      return lowered(total, units);
    };
  }
}

/** `-quantile_q(log p)`, linear between neighbours; q = 0 is the least sure token. */
export class QuantileRule extends DeferralRule {
  readonly name: string;

  /**
   * @param q which quantile of the N log-probabilities, in [0, 1].
   * @param written as a manifest has it; a name is not to be printed otherwise.
   */
  constructor(
    readonly q: number,
    written = String(q),
  ) {
    super();
    if (!(q >= 0 && q <= 1)) {
      throw new RangeError(`q must be a number in [0, 1], got ${q}`);
    }
    this.name = q === 0 ? "min" : q === 1 ? "max" : `quantile:${written}`;
  }

  score(logprobs: readonly number[]): number {
    if (!areLogprobs(logprobs)) {
      return Number.NaN;
    }
    const rising = Float64Array.from(logprobs).sort();
    return this.placed(rising.length, (index) => rising[index] ?? 0);
  }

  /** The score of `size` values, given by their place in rising order. */
  private placed(size: number, value: (index: number) => number): number {
    // Not a library's quantile: it would subtract -Infinity from -Infinity.
    const position = this.q * (size - 1);
    const lower = Math.floor(position);
    const share = position - lower;
    if (share === 0) {
      return -value(lower);
    }
    return -((1 - share) * value(lower) + share * value(lower + 1));
  }

  protected running(longest: number): RunningBound {
    const rising: number[] = [];
    const units = this.q === 0 || this.q === 1 ? 0 : 16;
    return (logprob) => {
      const place = rising.findIndex((one) => one > logprob);
      rising.splice(place < 0 ? rising.length : place, 0, logprob);
      return lowered(
        this.placed(longest, (index) => rising[index] ?? 0),
        units,
      );
    };
  }
}

/** The rules without a parameter, by the name that manifests use. */
export const RULES: Readonly<Record<string, DeferralRule>> = {
  mean: new MeanRule(),
  sum: new SumRule(),
  min: new QuantileRule(0),
  max: new QuantileRule(1),
};

/**
 * The rule that a manifest calls by name: a key of `RULES`, or `quantile:Q` with Q in [0, 1].
 *
 * A router is more than its name: see `Router`.
 */
export function ruleNamed(name: string): DeferralRule {
  const known = Object.hasOwn(RULES, name) ? RULES[name] : undefined;
  if (known !== undefined) {
    return known;
  }
  const [kind, parameter = ""] = name.split(/:(.*)/s);
  if (kind === "quantile") {
    const q = parameter.trim() === "" ? Number.NaN : Number(parameter);
    if (!(q >= 0 && q <= 1)) {
      throw new RangeError(
        `rule '${name.slice(0, 80)}': Q of quantile:Q must be a number in [0, 1], got '${parameter.slice(0, 80)}'`,
      );
    }
    return new QuantileRule(q, parameter);
  }
  throw new RangeError(
    `rule must be one of ${Object.keys(RULES).join(", ")}, quantile:Q (Q in [0, 1]), got '${name.slice(0, 80)}'`,
  );
}
