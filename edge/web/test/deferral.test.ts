// Every rule, bound and early stop gives Python's numbers: test/vectors/deferral.json.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type DeferralRule, defers, EarlyStop, Router, ruleNamed } from "../src/deferral";
import vectors from "./vectors/deferral.json" with { type: "json" };

type Value = number | string;
interface OfRule {
  name: string;
  lowest: Value;
  scores: Value[];
  bounds: Value[][];
}

const responses = (vectors.responses as Value[][]).map((one) => one.map(Number));
const router = Router.read(new TextEncoder().encode(vectors.router.file), "router.json");

function named(name: string): DeferralRule {
  return name === "router" ? router : ruleNamed(name);
}

/** @param off relative to the number; 0 is to the last bit. */
function same(found: number, wanted: Value, off: number, what: string): void {
  const number = Number(wanted);
  const near = Math.abs(found - number) <= off * Math.max(1, Math.abs(number));
  assert.ok(Object.is(found, number) || found === number || near, `${what}: ${found}, ${wanted}`);
}

for (const of of [...vectors.rules, vectors.router] as OfRule[]) {
  const off = of.name === "router" ? 1e-11 : 0;
  test(`scores and bounds of ${of.name}`, () => {
    const rule = named(of.name);
    assert.equal(rule.name, of.name);
    same(rule.lowest, of.lowest, off, "lowest");
    for (const [index, response] of responses.entries()) {
      same(rule.score(response), of.scores[index] ?? "", off, `score of response ${index}`);
      const add = rule.runningBound(response.length + 4);
      for (const [place, bound] of (of.bounds[index] ?? []).entries()) {
        same(add(response[place] ?? 0), bound, off, `bound ${place} of response ${index}`);
      }
    }
  });
}

test("early stops, certain and likely", () => {
  assert.ok(vectors.early.length > 10);
  for (const one of vectors.early) {
    for (const [statistic, stops] of Object.entries(one.stops)) {
      const likely = {
        statistic: statistic as "mean" | "sum" | "min",
        level: one.level,
        min_tokens: one.min_tokens,
      };
      const threshold = Number(one.threshold);
      const certain = new EarlyStop(named(one.rule), threshold, one.longest);
      const either = new EarlyStop(named(one.rule), threshold, one.longest, likely);
      const logprobs = (one.logprobs as Value[]).map(Number);
      const what = `${one.rule} and ${statistic}`;
      assert.deepEqual(
        logprobs.map((value) => certain.add(value)),
        stops.certain,
        what,
      );
      assert.deepEqual(
        logprobs.map((value) => either.add(value)),
        stops.likely,
        what,
      );
    }
  }
});

test("equation 4, and NaN always defers", () => {
  for (const [score, tau, wanted] of vectors.defers) {
    assert.equal(defers(Number(score), Number(tau)), wanted, `${score} at ${tau}`);
  }
});

test("rules that are none", () => {
  for (const name of ["median", "quantile", "quantile:", "quantile:2", "quantile:x", "router"]) {
    assert.throws(() => ruleNamed(name), /must be/, name);
  }
  assert.throws(() => ruleNamed("mean").score([]), /N >= 1/);
  assert.throws(() => new EarlyStop(ruleNamed("mean"), 1, 0), /at least 1/);
  const add = ruleNamed("sum").runningBound(1);
  add(-1);
  assert.throws(() => add(-1), /has a token 2/);
});

test("a router that is none", () => {
  const raw = (text: string) => new TextEncoder().encode(text);
  for (const text of [
    "",
    "[]",
    "{}",
    '{"schema":2}',
    vectors.router.file.replace("[16,", "[17,"),
  ]) {
    const broken = text === vectors.router.file ? `${text}x` : text;
    assert.throws(() => Router.read(raw(broken), "router.json"), /router.json: not a router/);
  }
});
