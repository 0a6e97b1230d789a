// What the page is told by whoever serves it, and what it offers; draws nothing.

import type { Outage } from "../src/index";
import profiles from "./profiles.json" with { type: "json" };

/** `demo.json` beside the page. */
export interface Settings {
  /** Of the artifact's folder. */
  artifact: string;
  manifestSha256?: string;
  /** Null where there is no larger model. */
  cloud: { url: string; token?: string } | null;
}

/** A task of the bundled model, as its prompts begin. */
export interface Task {
  prefix: string;
  label: string;
  asks: string;
  examples: string[];
}

export const TASKS: Task[] = [
  {
    prefix: "g2p: ",
    label: "How is a word pronounced?",
    asks: "A word",
    examples: ["cascade", "tomato", "queue", "chihuahua"],
  },
  {
    prefix: "p2g: ",
    label: "How is a sound spelled?",
    asks: "Sounds, as K AE T",
    examples: ["K AE T", "S IH T IY", "F OW N"],
  },
  {
    prefix: "stress: ",
    label: "Where is the stress?",
    asks: "A word",
    examples: ["banana", "camera", "photographer"],
  },
  {
    prefix: "syllables: ",
    label: "How many syllables?",
    asks: "A word",
    examples: ["banana", "queue", "encyclopedia"],
  },
];

/** A network, as `escalade profiles` has it. */
export interface Profile {
  name: string;
  rtt_ms: number;
  up_mbps: number | null;
  down_mbps: number | null;
  outages: Outage[];
  /** Of its outages; empty where it has none. */
  told: string;
  source: string;
}

/** page/profiles.json is written by tests/web_vectors.py. */
export const PROFILES = profiles as Profile[];

/** What is said where there is nothing else. */
const NONE: Settings = { artifact: "artifact/", cloud: null };

/** Read `demo.json`; a page without one looks for an artifact beside it. */
export async function settings(): Promise<Settings> {
  try {
    const response = await fetch("demo.json", { cache: "no-cache" });
    return response.ok ? { ...NONE, ...((await response.json()) as Settings) } : NONE;
  } catch {
    return NONE;
  }
}
