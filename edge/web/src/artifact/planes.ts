// Joins integers that are stored in planes into the bytes that kernels read; knows no program.
//
// Kernels read integers of 2, 4 and 8 bits. Those of 3, 5 and 6 are stored as two planes, their upper
// bits and what is below, each packed by itself, the lowest bits first. Joined they are the upper bits
// of the next wider integer: the same numbers on a scale that is as much smaller. As in
// edge/escalade/edge/artifact/planes.py.

/** A matrix whose integers are stored in planes. */
export interface PlanesEntry {
  bits: 3 | 5 | 6;
  /** How many, with those that fill its last blocks up; a multiple of 8. */
  integers: number;
}

const BYTE = 8;
const VALUES = 1 << BYTE;
/** Of each width the bits of its planes, the upper ones first, and of what they join to. */
const WIDTHS = {
  3: { planes: [2, 1], wide: 4 },
  5: { planes: [4, 1], wide: 8 },
  6: { planes: [4, 2], wide: 8 },
} as const;

/** Widths that planes are of. */
export const PLANE_BITS = [3, 5, 6] as const satisfies readonly (keyof typeof WIDTHS)[];

/** The file in which a program's integers of 3, 5 and 6 bits are stored. */
export function planesName(program: string): string {
  return `${program}.planes`;
}

/** What its graph calls the file of what they join to, which is in memory alone. */
export function joinedName(program: string): string {
  return `${program}.joined`;
}

/** How many bytes entries have in the file of planes. */
export function bytesStored(entries: readonly PlanesEntry[]): number {
  return entries.reduce((sum, { bits, integers }) => sum + (integers * bits) / BYTE, 0);
}

/** How many they join to. */
export function bytesJoined(entries: readonly PlanesEntry[]): number {
  return entries.reduce(
    (sum, { bits, integers }) => sum + (integers * WIDTHS[bits].wide) / BYTE,
    0,
  );
}

/**
 * What kernels read of a file of planes: matrix after matrix, of each plane after plane.
 *
 * @param stored the file, as long as `bytesStored` says: `parseManifest` has seen to it.
 * @param entries of each matrix, in the file's order.
 * @returns `bytesJoined` bytes.
 */
export function joinPlanes(
  stored: Uint8Array<ArrayBuffer>,
  entries: readonly PlanesEntry[],
): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(bytesJoined(entries));
  let at = 0;
  let first = 0;
  for (const { bits, integers } of entries) {
    const { planes, wide } = WIDTHS[bits];
    const length = (integers * wide) / BYTE;
    const out = new Uint16Array(joined.buffer, first, length / Uint16Array.BYTES_PER_ELEMENT);
    let above = 0;
    for (const plane of planes) {
      const count = (integers * plane) / BYTE;
      spread(stored.subarray(at, at + count), tableOf(plane, wide - above - plane, wide), out);
      above += plane;
      at += count;
    }
    first += length;
  }
  return joined;
}

/** Put what each byte of a plane stands for beside what is there. */
function spread(packed: Uint8Array, table: Uint16Array, out: Uint16Array): void {
  const each = table.length / VALUES;
  for (let at = 0, to = 0; at < packed.length; at += 1) {
    const from = (packed[at] ?? 0) * each;
    for (let more = 0; more < each; more += 1, to += 1) {
      out[to] = (out[to] ?? 0) | (table[from + more] ?? 0);
    }
  }
}

/**
 * `(256, wide / plane / 2)` pairs of bytes: what a byte of a plane stands for in integers of `wide`
 * bits, as many as it has.
 *
 * @param below how far up a part is in its integer.
 */
function tableOf(plane: number, below: number, wide: number): Uint16Array {
  const bytes = new Uint8Array((VALUES * wide) / plane);
  const each = bytes.length / VALUES;
  for (let value = 0; value < VALUES; value += 1) {
    for (let integer = 0; integer < BYTE / plane; integer += 1) {
      const part = (value >> (integer * plane)) & ((1 << plane) - 1);
      const bit = integer * wide + below;
      const at = value * each + Math.floor(bit / BYTE);
      bytes[at] = (bytes[at] ?? 0) | (part << (bit % BYTE));
    }
  }
  return new Uint16Array(bytes.buffer);
}
