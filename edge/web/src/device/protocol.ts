// What a page and its worker say to each other; knows neither.

import type { Fetched, Progress } from "../artifact";
import type { Told } from "../errors";
import type { Provider } from "../generation";
import type { CloudOptions, Network, Traffic } from "../wire";
import type { Answer, AskOptions, Event } from "./cascade";

/** How a device is opened. */
export interface OpenOptions {
  /** Of the artifact's folder. */
  artifact: string;
  /** Of the folder with onnxruntime-web's own files. */
  runtime: string;
  /** Null answers everything here. */
  cloud?: CloudOptions | null;
  /** `wasm` is the default, and the faster for a small model; `auto` takes a GPU where one will do. */
  provider?: Provider | "auto";
  /** That compute; 0 takes the processors there are, at most 4; one alone without isolation. */
  threads?: number;
  /** What the manifest's SHA-256 must be. */
  manifestSha256?: string;
  /** Whether nothing is kept for the next visit. */
  forgetful?: boolean;
}

/** What is known of a device once it is open. */
export interface Opened {
  model: string;
  parameters: number;
  quantization: string;
  rule: string;
  threshold: number | null;
  window: number;
  provider: Provider;
  threads: number;
  files: Fetched;
  /** From the call to the golden answer. */
  seconds: number;
}

/** What a page asks of its worker. */
export type Request =
  | { call: "open"; options: OpenOptions }
  | { call: "ask"; prompt: string; options: AskOptions }
  | { call: "encode"; texts: string[] }
  | { call: "network"; network: Network }
  | { call: "traffic" }
  | { call: "close" };

/** What each call gives. */
export interface Results {
  open: Opened;
  ask: { answer: Answer | null; traffic: Traffic; wouldSend: number };
  encode: { ids: number[]; text: string }[];
  network: null;
  traffic: Traffic;
  close: null;
}

export type Numbered = Request & { number: number };

/** What a worker says, of the call with that number. */
export type Reply =
  | { number: number; kind: "done"; result: Results[Request["call"]] }
  | { number: number; kind: "failed"; error: Told }
  | { number: number; kind: "event"; event: Event }
  | { number: number; kind: "progress"; progress: Progress };
