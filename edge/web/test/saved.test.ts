// What the page says was saved: against asking the larger model every time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Counter } from "../page/saved";
import type { Answer } from "../page/types";

function answer(outcome: Answer["outcome"]): Answer {
  return {
    outcome,
    seconds: 0.01,
    device: { text: "", tokens: [], score: 0, seconds: 0.01 },
    cloud: outcome === "deferred" ? { computeS: 0.05 } : null,
    asked: {},
  } as unknown as Answer;
}

test("calls, bytes and time, by what calls have taken", () => {
  const counter = new Counter();
  counter.add(answer("deferred"), { calls: 1, bytesUp: 150, bytesDown: 400 }, 100, 200);
  // The draft's 50 bytes, and the device's 10 ms.
  assert.deepEqual(counter.saved, { asked: 1, calls: 0, bytes: -50, ms: -10 });
  counter.add(answer("answered"), { calls: 1, bytesUp: 150, bytesDown: 400 }, 100, 200);
  assert.deepEqual(counter.saved, { asked: 2, calls: 1, bytes: 450, ms: 230 });
  counter.add(answer("degraded"), { calls: 2, bytesUp: 300, bytesDown: 400 }, 100, 200);
  assert.deepEqual([counter.saved.asked, counter.saved.calls], [3, 1]);
});
