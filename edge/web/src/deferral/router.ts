// A learned deferral rule: a small network on the token probabilities; knows no model.
//
// As `escalade/edge/deferral/router.py` and `router_file.py`: appendix B of the CAT paper. Sums over
// a layer may be added in another order there, so scores agree to 1e-12, not to the last bit.

import * as v from "valibot";
import { ArtifactError } from "../errors";
import { areLogprobs, DeferralRule, type RunningBound, UNIT_ROUNDOFF } from "./rule";

// Of exp, and for probabilities too small to have a relative error; see router.py.
const EXP_UNITS = 8;
const TINY = 1e-300;
const SCHEMA = 1;
/** Bytes of a file that may be a router. */
export const MAX_ROUTER_BYTES = 1 << 24;

/** A linear layer: weight row by row, `(outputs, inputs)`, and bias `(outputs,)`. */
export interface Layer {
  weight: Float32Array;
  bias: Float32Array;
}

const FILE = v.strictObject({
  schema: v.literal(SCHEMA),
  widths: v.pipe(v.array(v.pipe(v.number(), v.integer(), v.minValue(1))), v.minLength(2)),
  weights: v.array(v.string()),
  biases: v.array(v.string()),
  sha256: v.string(),
});

/** A multilayer perceptron with ReLU between its layers; its logit is the deferral score. */
export class Router extends DeferralRule {
  readonly name = "router";

  /** @param layers at least 1; each takes what the one before gives, the last gives 1 number. */
  constructor(private readonly layers: readonly Layer[]) {
    super();
    let given = 0;
    for (const [index, { weight, bias }] of layers.entries()) {
      const inputs = weight.length / bias.length;
      if (!Number.isInteger(inputs) || inputs < 1 || (index > 0 && inputs !== given)) {
        throw new RangeError(`layer ${index}: takes ${inputs} numbers, is given ${given}`);
      }
      if (![...weight, ...bias].every(Number.isFinite)) {
        throw new RangeError(`layer ${index}: a number is not finite`);
      }
      given = bias.length;
    }
    if (given !== 1) {
      throw new RangeError(`the last layer must give 1 number, the logit; got ${given}`);
    }
  }

  /** How many tokens of a response it looks at: the first ones. */
  get length(): number {
    const [first] = this.layers;
    return first === undefined ? 0 : first.weight.length / first.bias.length;
  }

  override get lowest(): number {
    return this.least(new Float64Array(this.length), new Float64Array(this.length).fill(1));
  }

  score(logprobs: readonly number[]): number {
    if (!areLogprobs(logprobs)) {
      return Number.NaN;
    }
    let values = new Float64Array(this.length);
    values.set(logprobs.slice(0, this.length).map((one) => Math.exp(Math.min(one, 0))));
    for (const [depth, layer] of this.layers.entries()) {
      values = applied(layer, depth > 0 ? values.map((one) => Math.max(one, 0)) : values);
    }
    return values[0] ?? Number.NaN;
  }

  protected running(longest: number): RunningBound {
    const low = new Float64Array(this.length);
    const high = new Float64Array(this.length).fill(1, 0, longest);
    let seen = 0;
    let bound = Number.NEGATIVE_INFINITY;
    return (logprob) => {
      if (seen < this.length) {
        const probability = Math.exp(Math.min(logprob, 0));
        const off = EXP_UNITS * UNIT_ROUNDOFF * probability + TINY;
        low[seen] = probability - off;
        high[seen] = probability + off;
        seen += 1;
        bound = this.least(low, high);
      }
      return bound;
    };
  }

  /** The lower end of the logit, of features between `low` and `high`. */
  private least(from: Float64Array, to: Float64Array): number {
    let low = Float64Array.from(from);
    let high = Float64Array.from(to);
    for (const [depth, { weight, bias }] of this.layers.entries()) {
      if (depth > 0) {
        low = low.map((one) => Math.max(one, 0));
        high = high.map((one) => Math.max(one, 0));
      }
      const inputs = low.length;
      const centre = low.map((one, index) => (one + (high[index] ?? 0)) / 2);
      const radius = low.map((one, index) => ((high[index] ?? 0) - one) / 2);
      const largest = low.map((one, index) => Math.max(Math.abs(one), Math.abs(high[index] ?? 0)));
      const size = { weight: weight.map(Math.abs), bias: new Float32Array(bias.length) };
      const middle = applied({ weight, bias }, centre);
      const most = applied({ weight: size.weight, bias: bias.map(Math.abs) }, largest);
      const wide = applied(size, radius);
      const off = wide.map(
        (one, row) => one + 4 * (inputs + 4) * UNIT_ROUNDOFF * (most[row] ?? 0) + TINY,
      );
      low = middle.map((one, row) => one - (off[row] ?? 0));
      high = middle.map((one, row) => one + (off[row] ?? 0));
    }
    return low[0] ?? Number.NaN;
  }

  /**
   * Read a router and check all of it.
   *
   * @param raw the file's bytes, which the manifest's sha256 has been held to.
   * @param where it came from, for messages.
   */
  static read(raw: Uint8Array, where: string): Router {
    if (raw.length > MAX_ROUTER_BYTES) {
      throw new ArtifactError(`${where}: more than ${MAX_ROUTER_BYTES} bytes; not a router`);
    }
    try {
      const file = v.parse(FILE, JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw)));
      return new Router(layersOf(file));
    } catch (error) {
      throw new ArtifactError(`${where}: not a router: ${(error as Error).message}`);
    }
  }
}

function applied({ weight, bias }: Layer, values: Float64Array): Float64Array<ArrayBuffer> {
  const inputs = values.length;
  return Float64Array.from(bias, (add, row) => {
    let total = 0;
    for (let index = 0; index < inputs; index += 1) {
      total += (weight[row * inputs + index] ?? 0) * (values[index] ?? 0);
    }
    return total + add;
  });
}

function layersOf(file: v.InferOutput<typeof FILE>): Layer[] {
  const count = file.widths.length - 1;
  if (file.weights.length !== count || file.biases.length !== count) {
    throw new RangeError(`${count} layers by widths, got ${file.weights.length} weights`);
  }
  return Array.from({ length: count }, (_, index) => {
    const weight = floatsOf(file.weights[index] ?? "");
    const bias = floatsOf(file.biases[index] ?? "");
    const [inputs = 0, outputs = 0] = file.widths.slice(index, index + 2);
    if (weight.length !== inputs * outputs || bias.length !== outputs) {
      throw new RangeError(
        `layer ${index}: ${weight.length} and ${bias.length} numbers; widths ${inputs} and ${outputs} need others`,
      );
    }
    return { weight, bias };
  });
}

/** Little-endian float32 in base64. */
function floatsOf(text: string): Float32Array {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: Math.floor(bytes.length / 4) }, (_, index) =>
    view.getFloat32(index * 4, true),
  );
}
