// The page's side: a device in a worker, so that the page never stalls; runs no model.

import type { Progress } from "../artifact";
import { EscaladeError, heard } from "../errors";
import type { Network, Traffic } from "../wire";
import type { Answer, AskOptions, Event } from "./cascade";
import type { Opened, OpenOptions, Reply, Request, Results } from "./protocol";

interface Waiting {
  done: (result: never) => void;
  failed: (error: Error) => void;
  onEvent?: ((event: Event) => void) | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** What a query's answer took on the link so far, and would have sent. */
export interface Asked {
  /** Null where another query was begun meanwhile. */
  answer: Answer | null;
  traffic: Traffic;
  /** Bytes of the request that asking the cloud for this query takes. */
  wouldSend: number;
}

/**
 * A device: one artifact in a worker of its own, and perhaps a tier above.
 *
 * Example:
 *
 *     const device = new Device(new Worker("worker.js", { type: "module" }));
 *     await device.open({ artifact: "artifact/", runtime: "ort/", cloud: { url: "https://..." } });
 *     const { answer } = await device.ask("g2p: cascade");
 */
export class Device {
  private readonly waiting = new Map<number, Waiting>();
  private number = 0;

  constructor(private readonly worker: Worker) {
    worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => this.hear(data));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.fail(new EscaladeError(`the worker ended: ${event.message || "it cannot be loaded"}`));
    });
  }

  /** Fetch, verify and load the artifact. Kept files are not fetched again. */
  open(options: OpenOptions, onProgress?: (progress: Progress) => void): Promise<Opened> {
    const here = new URL(globalThis.location.href);
    const artifact = new URL(options.artifact, here).href;
    const runtime = new URL(options.runtime, here).href;
    return this.call<"open">(
      { call: "open", options: { ...options, artifact, runtime } },
      { onProgress },
    );
  }

  /** Ask; a query that is under way is ended, and its answer is null. */
  ask(prompt: string, options: AskOptions = {}, onEvent?: (event: Event) => void): Promise<Asked> {
    return this.call<"ask">({ call: "ask", prompt, options }, { onEvent });
  }

  /** Ids of texts, and what those ids say. */
  encode(texts: string[]): Promise<{ ids: number[]; text: string }[]> {
    return this.call<"encode">({ call: "encode", texts });
  }

  /** Put a network in the way of the tier above. */
  async setNetwork(network: Network): Promise<void> {
    await this.call<"network">({ call: "network", network });
  }

  /** What went over the link so far. */
  traffic(): Promise<Traffic> {
    return this.call<"traffic">({ call: "traffic" });
  }

  /** Let the model and the worker go. */
  async close(): Promise<void> {
    await this.call<"close">({ call: "close" });
    this.worker.terminate();
    this.fail(new EscaladeError("the device is closed"));
  }

  private call<Call extends Request["call"]>(
    request: Extract<Request, { call: Call }>,
    told: Pick<Waiting, "onEvent" | "onProgress"> = {},
  ): Promise<Results[Call]> {
    this.number += 1;
    const { number } = this;
    return new Promise((done, failed) => {
      this.waiting.set(number, { done: done as (result: never) => void, failed, ...told });
      this.worker.postMessage({ ...request, number });
    });
  }

  private hear(reply: Reply): void {
    const waiting = this.waiting.get(reply.number);
    if (waiting === undefined) {
      return;
    }
    if (reply.kind === "event") {
      waiting.onEvent?.(reply.event);
      return;
    }
    if (reply.kind === "progress") {
      waiting.onProgress?.(reply.progress);
      return;
    }
    this.waiting.delete(reply.number);
    if (reply.kind === "failed") {
      waiting.failed(heard(reply.error));
    } else {
      waiting.done(reply.result as never);
    }
  }

  private fail(error: Error): void {
    for (const waiting of this.waiting.values()) {
      waiting.failed(error);
    }
    this.waiting.clear();
  }
}
