// What answering here has saved, against asking the larger model every time; draws nothing.

import type { Answer, Traffic } from "./types";

/** The count so far. */
export interface Saved {
  asked: number;
  calls: number;
  bytes: number;
  ms: number;
}

// Bytes of an answer before one has been seen; the bundled model's are about so long.
const FIRST_ANSWER_BYTES = 300;

/**
 * Counts. A call that was not made is taken to be as long as those that were: its own request, an
 * answer of the mean size, the network's round trip and the larger model's mean time.
 */
export class Counter {
  readonly saved: Saved = { asked: 0, calls: 0, bytes: 0, ms: 0 };
  private calls = 0;
  private bytesDown = 0;
  private computeMs = 0;
  private last: Traffic = { calls: 0, bytesUp: 0, bytesDown: 0 };

  /**
   * Add a query.
   *
   * @param wouldSend bytes of its request without a draft.
   * @param rttMs of the network as it is now.
   */
  add(answer: Answer, traffic: Traffic, wouldSend: number, rttMs: number): void {
    this.saved.asked += 1;
    const down = traffic.bytesDown - this.last.bytesDown;
    const up = traffic.bytesUp - this.last.bytesUp;
    this.last = traffic;
    if (answer.cloud !== null) {
      this.calls += 1;
      this.bytesDown += down;
      this.computeMs += answer.cloud.computeS * 1e3;
      // What the draft adds to a request, and the time that was spent here first.
      this.saved.bytes -= Math.max(0, up - wouldSend);
      this.saved.ms -= answer.device.seconds * 1e3;
    } else if (answer.outcome === "answered" && answer.asked !== null) {
      this.saved.calls += 1;
      this.saved.bytes += wouldSend + this.mean(this.bytesDown, FIRST_ANSWER_BYTES);
      this.saved.ms += rttMs + this.mean(this.computeMs, 0) - answer.seconds * 1e3;
    }
  }

  private mean(total: number, otherwise: number): number {
    return this.calls === 0 ? otherwise : total / this.calls;
  }
}
