// A query on its way: who answers it, what is sent, and what ends it; no model, no network.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ruleNamed } from "../src/deferral";
import { type Answer, Cascade, type Event } from "../src/device/cascade";
import { CloudError } from "../src/errors";
import type { Artifact, Delta } from "../src/generation";
import type { Asked, Cloud } from "../src/wire";

const LOGPROBS = [-0.1, -0.5, -0.3];
const HEARD = { text: "above", model: "large", tokens: 1, logprobs: [], computeS: 0.1, tiers: [] };

/** An artifact that says the same three tokens to everything. */
function artifact(): Artifact {
  const manifest = {
    model: { tokenizer_fingerprint: "f", vocabulary_size: 9 },
    deferral: { threshold: 0.25, early: { statistic: "min", level: 0.4, min_tokens: 1 } },
  };
  async function* stream(
    _ids: number[],
    longest: number,
    stopWhen: (logprob: number) => boolean,
  ): AsyncGenerator<Delta> {
    for (const [id, logprob] of LOGPROBS.entries()) {
      const ended = id === LOGPROBS.length - 1;
      const early = !ended && stopWhen(logprob);
      const stop = ended ? "end" : early ? "stopped_early" : null;
      yield { step: { id, logprob, ended }, text: ended ? "" : `t${id}`, stop };
      if (stop !== null || id === longest) {
        return;
      }
    }
  }
  const made = {
    manifest,
    rule: ruleNamed("mean"),
    encode: () => [4, 5],
    roomFor: () => 8,
    piece: (id: number) => `t${id}`,
    stream,
  };
  return made as unknown as Artifact;
}

function cloud(ask: (asked: Asked, signal: AbortSignal) => Promise<typeof HEARD>): Cloud {
  return {
    ask: (asked: Asked, _onPiece: unknown, signal: AbortSignal) => ask(asked, signal),
  } as unknown as Cloud;
}

const SCORE = 0.9 / 3;

test("below the threshold the answer stands, and nothing is sent", async () => {
  const never = cloud(() => assert.fail("nothing is to be sent"));
  const answer = await new Cascade(artifact(), never).ask("x", { threshold: 0.4 });
  assert.equal(answer?.outcome, "answered");
  assert.equal(answer?.text, "t0t1");
  assert.ok(Math.abs((answer?.device.score ?? 0) - SCORE) < 1e-12);
});

test("where the score reaches it, what was said goes along", async () => {
  const sent: Asked[] = [];
  const above = cloud(async (asked) => {
    sent.push(asked);
    return HEARD;
  });
  const events: Event[] = [];
  const answer = await new Cascade(artifact(), above).ask("x", {}, (event) => events.push(event));
  assert.deepEqual([answer?.outcome, answer?.text], ["deferred", "above"]);
  assert.deepEqual(sent[0]?.draft?.ids, [0, 1], "without the end-of-sequence token");
  assert.deepEqual(sent[0]?.draft?.logprobs, LOGPROBS);
  assert.equal(sent[0]?.draft?.threshold, 0.25);
  assert.deepEqual(
    events.map((event) => event.kind),
    ["token", "token", "token", "scored"],
  );
});

test("early, the answer is not finished and has no score", async () => {
  for (const [early, tokens] of [
    ["off", 3],
    ["certain", 3],
    ["likely", 2],
  ] as const) {
    const answer = await new Cascade(
      artifact(),
      cloud(async () => HEARD),
    ).ask("x", { early });
    assert.equal(answer?.device.tokens.length, tokens, early);
    assert.equal(answer?.device.score === null, tokens === 2);
    assert.equal(answer?.outcome, "deferred");
  }
  const low = await new Cascade(
    artifact(),
    cloud(async () => HEARD),
  ).ask("x", { early: "certain", threshold: 0.01 });
  assert.equal(low?.device.tokens.length, 1);
  const elsewhere = await new Cascade(
    artifact(),
    cloud(async () => HEARD),
  ).ask("x", { early: "likely", threshold: 0.26 });
  assert.equal(elsewhere?.device.tokens.length, 3, "likely holds at its own threshold alone");
});

test("a tier that does not answer leaves the device's own answer", async () => {
  const gone = cloud(async () => {
    throw new CloudError("nobody there", "UNAVAILABLE");
  });
  const answer = await new Cascade(artifact(), gone).ask("x");
  assert.deepEqual(
    [answer?.outcome, answer?.text, answer?.reason],
    ["degraded", "t0t1", "UNAVAILABLE: nobody there"],
  );
});

test("another question ends the one that waits above", async () => {
  const asked: AbortSignal[] = [];
  const waiting = cloud(
    (_asked, signal) =>
      new Promise((resolve, reject) => {
        asked.push(signal);
        if (asked.length > 1) {
          resolve(HEARD);
        }
        signal.addEventListener("abort", () => reject(new CloudError("ended", "CANCELLED")));
      }),
  );
  const cascade = new Cascade(artifact(), waiting);
  let second: Promise<Answer | null> | undefined;
  const first = cascade.ask("x", {}, (event) => {
    if (event.kind === "scored") {
      queueMicrotask(() => {
        second = cascade.ask("y");
      });
    }
  });
  assert.equal(await first, null);
  assert.equal((await second)?.outcome, "deferred");
});

test("without a tier above every answer stands", async () => {
  const answer = await new Cascade(artifact(), null).ask("x", { early: "likely" });
  assert.deepEqual([answer?.outcome, answer?.asked], ["answered", null]);
});
