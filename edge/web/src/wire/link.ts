// A network that is put in a request's path, and the bytes that go over it; knows no message.
//
// As `escalade proxy` delays a real connection, in the page itself: half the round trip and the time
// the bytes take, each way; in an outage it is waited for. What is counted is the bodies of HTTP messages;
// headers are not seen here.

import type { Fetch } from "../artifact";
import { Away, type Outage, type Uniform } from "./outages";

/** A network, as a profile of the simulator names it. */
export interface Network {
  name: string;
  rttMs: number;
  /** Megabits (1e6 bits) a second; null is without a limit. */
  upMbps: number | null;
  downMbps: number | null;
  /** They begin when a network of another name is taken. */
  outages: Outage[];
  /** As a phone in an airplane: nothing leaves. */
  airplane: boolean;
}

/** No network in the way but the real one. */
export const DIRECT: Network = {
  name: "direct",
  rttMs: 0,
  upMbps: null,
  downMbps: null,
  outages: [],
  airplane: false,
};

/** What went over a link so far. */
export interface Traffic {
  calls: number;
  bytesUp: number;
  bytesDown: number;
}

/** Of a browser's timers: one that is longer ends at once. */
const LONGEST_MS = 2 ** 31 - 1;

export type Sleep = (ms: number, signal?: AbortSignal | null) => Promise<void>;

/** Waits; ends at once where the signal says so. */
export const sleep: Sleep = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });

/** A link with a network of its own, which may change between calls. */
export class Link {
  readonly traffic: Traffic = { calls: 0, bytesUp: 0, bytesDown: 0 };
  private taken: Network = DIRECT;
  private away: Away;

  /**
   * @param load asks.
   * @param wait as long as the network takes.
   * @param nowMs a clock that does not go back.
   * @param random of outages by chance.
   */
  constructor(
    private readonly load: Fetch = (input, init) => fetch(input, init),
    private readonly wait: Sleep = sleep,
    private readonly nowMs: () => number = () => performance.now(),
    private readonly random: Uniform = Math.random,
  ) {
    this.away = this.awayFromNow(DIRECT);
  }

  get network(): Network {
    return this.taken;
  }

  set network(network: Network) {
    if (network.name !== this.taken.name) {
      this.away = this.awayFromNow(network);
    }
    this.taken = network;
  }

  /** A `fetch` over this link. */
  readonly fetch = async (input: string, init: RequestInit = {}): Promise<Response> => {
    const { rttMs, upMbps, downMbps, airplane } = this.network;
    if (airplane || !isOnline()) {
      throw new TypeError(airplane ? "airplane mode" : "no network");
    }
    const up = sizeOf(init.body);
    this.traffic.calls += 1;
    this.traffic.bytesUp += up;
    await this.delay(rttMs / 2 + msOf(up, upMbps), init.signal);
    const response = await this.load(input, init);
    const counted = response.body?.pipeThrough(
      new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
        start: () => this.delay(rttMs / 2, init.signal),
        transform: async (piece, controller) => {
          this.traffic.bytesDown += piece.length;
          await this.delay(msOf(piece.length, downMbps), init.signal);
          controller.enqueue(piece);
        },
      }),
    );
    const { status, statusText, headers } = response;
    return new Response(counted ?? null, { status, statusText, headers });
  };

  private awayFromNow(network: Network): Away {
    return new Away(network.outages, this.nowMs() / 1e3, this.random);
  }

  private async delay(ms: number, signal: AbortSignal | null | undefined): Promise<void> {
    const all = this.away.leftS(this.nowMs() / 1e3) * 1e3 + ms;
    if (all > 0) {
      await this.wait(Math.min(all, LONGEST_MS), signal);
    }
  }
}

/** False where the system says that there is no network. */
export function isOnline(): boolean {
  return globalThis.navigator?.onLine !== false;
}

function sizeOf(body: BodyInit | null | undefined): number {
  if (body instanceof Uint8Array || body instanceof ArrayBuffer) {
    return body.byteLength;
  }
  return typeof body === "string" ? new TextEncoder().encode(body).length : 0;
}

function msOf(bytes: number, mbps: number | null): number {
  return mbps === null ? 0 : (bytes * 8) / (mbps * 1e3);
}
