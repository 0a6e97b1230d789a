// When a network is away: as long and as often as its outages say; on virtual time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Away } from "../src/wire/outages";

/** Numbers of [0, 1), the same each time (Park and Miller's generator). */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

test("an outage by the clock is there from its beginning to its end, and again", () => {
  const outage = { kind: "cycle" as const, everyS: 100, lastsS: 10, beginsS: 60 };
  const away = new Away([outage], 1000, Math.random);
  assert.deepEqual(
    [1000, 1059, 1060, 1069, 1070, 1165].map((at) => away.leftS(at)),
    [0, 0, 10, 1, 0, 5],
  );
});

test("the end of one outage may lie within another", () => {
  const outages = [
    { kind: "cycle" as const, everyS: 100, lastsS: 10, beginsS: 15 },
    { kind: "cycle" as const, everyS: 100, lastsS: 10, beginsS: 8 },
  ];
  assert.equal(new Away(outages, 0, Math.random).leftS(10), 15);
});

test("outages by chance take their share of the time, the first moment's too", () => {
  const chance = { kind: "chance" as const, everyS: 40, lastsS: 10, beginsS: 0 };
  const away = new Away([chance], 0, uniform(1));
  const left = Array.from({ length: 40_000 }, (_, at) => away.leftS(at)).filter((one) => one > 0);
  assert.ok(Math.abs(left.length / 40_000 - 0.25) < 0.03, String(left.length));
  const mean = left.reduce((sum, one) => sum + one, 0) / left.length;
  assert.ok(Math.abs(mean - 10) < 1.5, String(mean)); // what is left of an exponential time has no age
  const random = uniform(2);
  const first = Array.from({ length: 4000 }, () => new Away([chance], 0, random).leftS(5));
  assert.ok(Math.abs(first.filter((one) => one > 0).length / 4000 - 0.25) < 0.03);
});
