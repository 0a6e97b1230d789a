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

test("an outage is waited for each way, and begins when its network is taken", async () => {
  const slept: number[] = [];
  let nowMs = 7000;
  const one = new Link(
    async () => new Response(new Uint8Array(1)),
    async (ms) => {
      slept.push(ms);
      nowMs += ms;
    },
    () => nowMs,
  );
  const outage = { kind: "cycle" as const, everyS: 10, lastsS: 2, beginsS: 1 };
  one.network = { ...DIRECT, name: "off", rttMs: 100, outages: [outage] };
  nowMs = 8960; // it has half a second and an outbound trip left
  await (await one.fetch("http://x/")).arrayBuffer();
  assert.deepEqual(slept.map(Math.round), [1090, 50]);
  // Another delay on the same network moves nothing.
  slept.length = 0;
  one.network = { ...one.network, rttMs: 0 };
  nowMs = 18_500;
  await (await one.fetch("http://x/")).arrayBuffer();
  assert.deepEqual(slept.map(Math.round), [1500]);
});

test("nothing leaves an airplane", async () => {
  const { link: one } = link(new Uint8Array(1));
  one.network = { ...DIRECT, airplane: true };
  await assert.rejects(one.fetch("http://x/"), /airplane/);
  assert.equal(one.traffic.calls, 0);
});
