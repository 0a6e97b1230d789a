// Integers in planes: joined they are what they were, and nobody holds them twice.

import assert from "node:assert/strict";
import { test } from "node:test";
import { joinPlanes, type Manifest, type PlanesEntry } from "../src/artifact";
import { ArtifactError } from "../src/errors";
import { dataTaken, type Files } from "../src/generation/files";

/** Bit by bit: the lowest of the first integer first. */
function packed(integers: readonly number[], bits: number): number[] {
  const bytes = new Array<number>(Math.ceil((integers.length * bits) / 8)).fill(0);
  integers.forEach((integer, index) => {
    for (let bit = 0; bit < bits; bit += 1) {
      const at = index * bits + bit;
      bytes[at >> 3] = (bytes[at >> 3] ?? 0) | (((integer >> bit) & 1) << (at & 7));
    }
  });
  return bytes;
}

/** As `escalade export` writes them, and as kernels read them. */
function matrix(bits: PlanesEntry["bits"], integers: readonly number[]) {
  const below = { 3: 1, 5: 1, 6: 2 }[bits];
  const wide = bits === 3 ? 4 : 8;
  const upper = integers.map((one) => one >> below);
  const lower = integers.map((one) => one & ((1 << below) - 1));
  return {
    entry: { bits, integers: integers.length },
    stored: [...packed(upper, bits - below), ...packed(lower, below)],
    joined: packed(
      integers.map((one) => one << (wide - bits)),
      wide,
    ),
  };
}

/** Every value in every place of a byte, and more than there are. */
function someOf(bits: number, count: number): number[] {
  let state = bits;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Knuth's, from Numerical Recipes
    return state >>> (32 - bits);
  });
}

test("planes join to the upper bits of wider integers, matrix after matrix", () => {
  const widths = [3, 5, 6, 3, 6, 5, 5] as const;
  const counts = [8, 8, 8, 4096, 4096, 4096, 24];
  const matrices = widths.map((bits, at) => matrix(bits, someOf(bits, counts[at] ?? 0)));
  const stored = new Uint8Array(matrices.flatMap((one) => one.stored));
  const joined = joinPlanes(
    stored,
    matrices.map((one) => one.entry),
  );
  assert.deepEqual(
    [...joined],
    matrices.flatMap((one) => one.joined),
  );
});

test("a part of a larger buffer is joined as well", () => {
  const { entry, stored, joined } = matrix(5, [31, 0, 1, 2, 3, 16, 17, 30]);
  const within = new Uint8Array([255, ...stored, 255]).subarray(1, -1);
  assert.deepEqual([...joinPlanes(within, [entry])], joined);
});

const of = (planes?: PlanesEntry[]) =>
  ({ program: "model.onnx", quantization: { budget: { planes } } }) as unknown as Manifest;

test("a program finds what its planes join to, and no file is kept", () => {
  const { entry, stored, joined } = matrix(6, [63, 0, 1, 2, 4, 8, 16, 32]);
  const files: Files = new Map([
    ["model.onnx.planes", new Uint8Array(stored)],
    ["model.onnx.data", new Uint8Array([7])],
    ["other", new Uint8Array()],
  ]);
  const found = new Map(dataTaken(of([entry]), files).map(({ path, data }) => [path, [...data]]));
  assert.deepEqual(
    found,
    new Map([
      ["model.onnx.data", [7]],
      ["model.onnx.joined", joined],
    ]),
  );
  assert.deepEqual([...files.keys()], ["other"]);
  assert.throws(() => dataTaken(of([entry]), files), ArtifactError);
});

test("a program without planes finds its data alone", () => {
  const files: Files = new Map([["model.onnx.data", new Uint8Array([7])]]);
  assert.deepEqual(
    dataTaken(of(), files).map((one) => one.path),
    ["model.onnx.data"],
  );
});
