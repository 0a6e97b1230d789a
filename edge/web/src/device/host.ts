// The worker's side: opens the artifact and answers its page; draws nothing.

import { Folder, Memory, PrivateFiles } from "../artifact";
import { EscaladeError, told } from "../errors";
import { Artifact, type Ort, type Provider } from "../generation";
import { bytesOf, Cloud, Link } from "../wire";
import { Cascade } from "./cascade";
import type { Numbered, Opened, OpenOptions, Reply, Request, Results } from "./protocol";

// As many as the device in Python takes at most by itself.
const MOST_THREADS = 4;
const KEPT_IN = "escalade-artifacts";

/** Loads onnxruntime-web in the build that a provider takes. */
export type LoadOrt = (provider: Provider) => Promise<Ort>;

/** Answers a page. */
export class Host {
  private readonly link = new Link();
  private cascade: Cascade | null = null;

  constructor(
    private readonly load: LoadOrt,
    private readonly say: (reply: Reply) => void,
  ) {}

  /** Do what a page asks, and tell it what came of that. */
  async hear(request: Numbered): Promise<void> {
    const { number } = request;
    try {
      const result = await this.done(request, number);
      this.say({ number, kind: "done", result });
    } catch (error) {
      this.say({ number, kind: "failed", error: told(error) });
    }
  }

  private async done(request: Request, number: number): Promise<Results[Request["call"]]> {
    switch (request.call) {
      case "open":
        return this.open(request.options, number);
      case "ask": {
        const answer = await this.opened.ask(request.prompt, request.options, (event) =>
          this.say({ number, kind: "event", event }),
        );
        const wouldSend = answer?.asked ? bytesOf({ ...answer.asked, draft: null }) : 0;
        return { answer, traffic: { ...this.link.traffic }, wouldSend };
      }
      case "encode":
        return request.texts.map((text) => {
          const ids = this.opened.artifact.encode(text);
          return { ids, text: this.opened.artifact.decode(ids) };
        });
      case "network":
        this.link.network = request.network;
        return null;
      case "traffic":
        return { ...this.link.traffic };
      case "close":
        await this.cascade?.artifact.close();
        this.cascade = null;
        return null;
    }
  }

  private get opened(): Cascade {
    if (this.cascade === null) {
      throw new EscaladeError("the device is not open");
    }
    return this.cascade;
  }

  private async open(options: OpenOptions, number: number): Promise<Opened> {
    const began = performance.now();
    await this.cascade?.artifact.close();
    this.cascade = null;
    const place = options.forgetful ? null : await PrivateFiles.open(KEPT_IN);
    const folder = new Folder(options.artifact, place ?? new Memory(), undefined, (progress) =>
      this.say({ number, kind: "progress", progress }),
    );
    if (place === null) {
      folder.told.notKept = options.forgetful ? "asked to forget" : "this browser keeps no files";
    }
    const threads = threadsOf(options.threads ?? 0);
    const { artifact, provider } = await this.ran(options, folder, threads);
    const cloud = options.cloud ? new Cloud(options.cloud, this.link.fetch) : null;
    this.cascade = new Cascade(artifact, cloud);
    const { deferral, model, quantization } = artifact.manifest;
    return {
      model: model.name,
      parameters: model.parameters,
      quantization: quantization.detail,
      rule: deferral.rule,
      threshold: deferral.threshold ?? null,
      window: model.window,
      provider,
      threads,
      files: folder.told,
      seconds: (performance.now() - began) / 1e3,
    };
  }

  /** The artifact, by the first provider that runs it. */
  private async ran(options: OpenOptions, folder: Folder, threads: number) {
    const { manifestSha256, runtime } = options;
    const asked = options.provider ?? "wasm";
    const rest: Provider[] = asked === "auto" ? ["wasm"] : [];
    let provider = asked === "auto" ? ((await hasGpu()) ? "webgpu" : "wasm") : asked;
    for (;;) {
      try {
        const ort = await this.load(provider);
        ort.env.wasm.numThreads = threads;
        ort.env.wasm.wasmPaths = runtime;
        const artifact = await Artifact.open(folder, ort, { provider, manifestSha256 });
        return { artifact, provider };
      } catch (error) {
        // Not every GPU has what every program needs: float16, or so much memory.
        const other = rest.pop();
        if (other === undefined || other === provider) {
          throw error;
        }
        provider = other;
      }
    }
  }
}

async function hasGpu(): Promise<boolean> {
  const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<object | null> } };
  const found = await gpu?.requestAdapter().catch(() => null);
  return found !== undefined && found !== null;
}

function threadsOf(asked: number): number {
  // Shared memory is for pages that are isolated from others' (COOP and COEP).
  if (!self.crossOriginIsolated) {
    return 1;
  }
  return asked > 0 ? asked : Math.min(MOST_THREADS, navigator.hardwareConcurrency);
}
