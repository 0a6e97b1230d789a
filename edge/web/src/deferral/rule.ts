// What a deferral rule is: a score, and what is certain of it early; knows no rule by name.
//
// As `escalade/edge/deferral/rule.py`, to the last bit: test/vectors/deferral.json holds both to it.

/** Half the distance from 1 to the next double (Higham 2002, section 2.1). */
export const UNIT_ROUNDOFF = 2 ** -53;
// The least normal double. Below it errors are no longer relative.
const LEAST_NORMAL = 2 ** -1022;

/** Takes the next token's log-probability, gives the bound with that token seen. */
export type RunningBound = (logprob: number) => number;

/** The deferral score of a response, and what is certain of it before the response ends. */
export abstract class DeferralRule {
  /** What manifests and traces call it. */
  abstract readonly name: string;

  /** No response scores lower: the bound before the first token. */
  get lowest(): number {
    return 0;
  }

  /**
   * The deferral score r(x); NaN, which defers, where a value is NaN or `Infinity`.
   *
   * @param logprobs of N >= 1 tokens, natural logarithms.
   */
  abstract score(logprobs: readonly number[]): number;

  /** The bound of log-probabilities that are none of them NaN or `Infinity`. */
  protected abstract running(longest: number): RunningBound;

  /**
   * What the score of no response comes below, as its tokens come.
   *
   * @param longest how many tokens the response may have, >= 1.
   */
  runningBound(longest: number): RunningBound {
    if (!(longest >= 1)) {
      throw new RangeError(`longest must be at least 1, got ${longest}`);
    }
    const step = this.running(longest);
    let seen = 0;
    let broken = false;
    return (logprob) => {
      seen += 1;
      if (seen > longest) {
        throw new RangeError(`a response of at most ${longest} tokens has a token ${seen}`);
      }
      broken ||= Number.isNaN(logprob) || logprob === Number.POSITIVE_INFINITY;
      return broken ? Number.POSITIVE_INFINITY : step(logprob);
    };
  }
}

/** Whether every value may be scored; else the score is NaN. Throws where there is no token. */
export function areLogprobs(logprobs: readonly number[]): boolean {
  if (logprobs.length === 0) {
    throw new RangeError("logprobs must have shape (N,) with N >= 1, got (0,)");
  }
  return !logprobs.some((value) => Number.isNaN(value) || value === Number.POSITIVE_INFINITY);
}

/** A score of 0 or more, less that many units of roundoff; never below 0. */
export function lowered(score: number, units: number): number {
  if (units === 0 || score === Number.POSITIVE_INFINITY) {
    return score;
  }
  return Math.max(0, score - score * (units * UNIT_ROUNDOFF) - LEAST_NORMAL);
}

/** Equation 4: the next tier answers when r(x) >= tau; a NaN score always defers. */
export function defers(score: number, threshold: number): boolean {
  return !(score < threshold);
}
