// A network in the way: what it delays by, what it counts, and airplane mode; on virtual time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DIRECT, Link } from "../src/wire";

function link(answer: Uint8Array<ArrayBuffer>) {
  const slept: number[] = [];
  const one = new Link(
    async () => new Response(answer),
    async (ms) => {
      slept.push(ms);
    },
  );
  return { link: one, slept };
}

test("half the round trip each way, and the time that the bytes take", async () => {
  const { link: one, slept } = link(new Uint8Array(500));
  one.network = { ...DIRECT, rttMs: 100, upMbps: 0.008, downMbps: 0.04 };
  const response = await one.fetch("http://x/", { method: "POST", body: new Uint8Array(10) });
  assert.equal((await response.arrayBuffer()).byteLength, 500);
  // 10 bytes at 8 kbit/s are 10 ms, 500 at 40 are 100 ms.
  assert.deepEqual(slept, [60, 50, 100]);
  assert.deepEqual(one.traffic, { calls: 1, bytesUp: 10, bytesDown: 500 });
});

test("nothing leaves an airplane", async () => {
  const { link: one } = link(new Uint8Array(1));
  one.network = { ...DIRECT, airplane: true };
  await assert.rejects(one.fetch("http://x/"), /airplane/);
  assert.equal(one.traffic.calls, 0);
});
