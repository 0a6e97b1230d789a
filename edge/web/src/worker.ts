// The worker's program: everything heavy is here, and nothing that draws.

import { Host, type Numbered } from "./device";
import type { Ort, Provider } from "./generation";

declare const self: DedicatedWorkerGlobalScope;

async function load(provider: Provider): Promise<Ort> {
  // The build for GPUs is twice as large: who does not use it does not load it.
  return provider === "webgpu" ? import("onnxruntime-web/webgpu") : import("onnxruntime-web/wasm");
}

const host = new Host(load, (reply) => self.postMessage(reply));
self.addEventListener("message", ({ data }: MessageEvent<Numbered>) => {
  void host.hear(data);
});
