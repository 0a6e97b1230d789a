// Sums as numpy adds, so that both devices have the same last bit; knows no rule.

// numpy's PW_BLOCKSIZE and its eight accumulators (numpy/_core/src/umath/loops_utils.h.src).
const BLOCK = 128;
const LANES = 8;

/** The sum of all values in numpy's order: pairwise above 128 of them. */
export function pairwiseSum(values: ArrayLike<number>): number {
  return 0 + sumOf(values, 0, values.length);
}

function sumOf(values: ArrayLike<number>, from: number, count: number): number {
  if (count < LANES) {
    let total = -0;
    for (let index = 0; index < count; index += 1) {
      total += at(values, from + index);
    }
    return total;
  }
  if (count > BLOCK) {
    let half = Math.floor(count / 2);
    half -= half % LANES;
    return sumOf(values, from, half) + sumOf(values, from + half, count - half);
  }
  const lanes = Array.from({ length: LANES }, (_, lane) => at(values, from + lane));
  const whole = count - (count % LANES);
  for (let index = LANES; index < whole; index += LANES) {
    for (let lane = 0; lane < LANES; lane += 1) {
      lanes[lane] = at(lanes, lane) + at(values, from + index + lane);
    }
  }
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = lanes;
  let total = a + b + (c + d) + (e + f + (g + h));
  for (let index = whole; index < count; index += 1) {
    total += at(values, from + index);
  }
  return total;
}

function at(values: ArrayLike<number>, index: number): number {
  return values[index] ?? Number.NaN;
}
