// Text while it grows: half of a character is held back, and nothing is said twice.

import assert from "node:assert/strict";
import { test } from "node:test";
import { GrowingText } from "../src/text";

const decode = (ids: readonly number[]) => new TextDecoder().decode(Uint8Array.from(ids));

test("bytes of a character come together", () => {
  const text = new GrowingText(decode);
  const bytes = [...new TextEncoder().encode("aé🙂b")];
  const pieces = bytes.map((byte) => text.add(byte));
  assert.deepEqual(pieces, ["a", "", "é", "", "", "", "🙂", "b"]);
  assert.deepEqual(text.end(), { text: "aé🙂b", rest: "" });
});

test("what never becomes a character is given at the end", () => {
  const text = new GrowingText(decode);
  assert.deepEqual(
    [97, 0xc3].map((byte) => text.add(byte)),
    ["a", ""],
  );
  assert.deepEqual(text.end(), { text: "a\ufffd", rest: "\ufffd" });
});
