// The tier above, over gRPC-Web: the same CascadeService that other devices call; knows no model.

import { create, toBinary } from "@bufbuild/protobuf";
import {
  type CallOptions,
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
} from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import type { Fetch } from "../artifact";
import { CloudError } from "../errors";
import { checkAnswer, checkInfo } from "./checks";
import {
  CascadeService,
  ErrorReason,
  type GenerateRequest,
  GenerateRequestSchema,
  type GenerateResponse,
  type GetModelInfoResponse,
} from "./gen/escalade/v1/cascade_pb";
import { isOnline } from "./link";

// What a second try may mend: the same request id, so that the query is computed once.
const ATTEMPTS = 2;
const MAY_PASS = new Set([Code.Unavailable, Code.Canceled, Code.Unknown]);
const PREFIX = "ERROR_REASON_";

/** How the tier above is reached. */
export interface CloudOptions {
  /** Of the listener that `escalade serve --web` announces, e.g. `https://example.org:8443`. */
  url: string;
  /** Sent as `authorization: Bearer`; see `escalade token`. */
  token?: string | undefined;
  /** Seconds that one query has. */
  deadlineS?: number | undefined;
}

/** What the device says of a query that it does not answer. */
export interface Asked {
  text: string;
  ids: readonly number[];
  tokenizerFingerprint: string;
  vocabularySize: number;
  draft: {
    ids: readonly number[];
    logprobs: readonly number[];
    /** None where generation was stopped early. */
    score: number | null;
    threshold: number;
    rule: string;
  } | null;
  maxNewTokens: number | null;
}

/** An answer from above. */
export interface Heard {
  text: string;
  model: string;
  tokens: number;
  logprobs: number[];
  computeS: number;
  /** Names of the tiers it went through. */
  tiers: string[];
}

/** A connection to a server or a gateway. */
export class Cloud {
  private readonly client: Client<typeof CascadeService>;
  private info: GetModelInfoResponse | null = null;
  private readonly deadlineMs: number;

  constructor(options: CloudOptions, load: Fetch) {
    const bearer: Interceptor = (next) => (request) => {
      if (options.token !== undefined) {
        request.header.set("authorization", `Bearer ${options.token}`);
      }
      return next(request);
    };
    this.deadlineMs = (options.deadlineS ?? 10) * 1e3;
    const transport = createGrpcWebTransport({
      baseUrl: options.url,
      interceptors: [bearer],
      fetch: (input, init) => load(String(input), init),
    });
    this.client = createClient(CascadeService, transport);
  }

  /** Who is there; asked once. */
  async model(signal?: AbortSignal): Promise<GetModelInfoResponse> {
    if (this.info === null) {
      const info = await this.attempted((options) => this.client.getModelInfo({}, options), signal);
      checkInfo(info);
      this.info = info;
    }
    return this.info;
  }

  /**
   * Ask; throws `CloudError` where nothing that can be believed comes back.
   *
   * @param onPiece told of the answer's text as it comes.
   * @param signal ends it.
   */
  async ask(
    asked: Asked,
    onPiece: (text: string) => void = () => {},
    signal?: AbortSignal,
  ): Promise<Heard> {
    const info = await this.model(signal);
    const same = info.model?.tokenizerFingerprint === asked.tokenizerFingerprint;
    const request = requestOf(asked, same);
    const response = await this.attempted(
      (options) => this.stream(request, options, onPiece),
      signal,
    );
    checkAnswer(request, response, same ? asked.vocabularySize : null);
    return {
      text: response.text,
      model: response.model?.name || (info.model?.name ?? ""),
      tokens: response.tokenIds.length,
      logprobs: response.logprobs,
      computeS: response.timing?.computeS ?? 0,
      tiers: response.reports.map((report) => report.tier),
    };
  }

  private async stream(
    request: GenerateRequest,
    options: CallOptions,
    onPiece: (text: string) => void,
  ): Promise<GenerateResponse> {
    for await (const { event } of this.client.generateStream({ request }, options)) {
      if (event.case === "chunk") {
        onPiece(event.value.text);
      } else if (event.case === "final") {
        return event.value;
      }
    }
    throw new CloudError("the stream ended before the answer did", "UNAVAILABLE");
  }

  private async attempted<T>(
    call: (options: CallOptions) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const until = performance.now() + this.deadlineMs;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const timeoutMs = Math.max(1, Math.ceil(until - performance.now()));
        return await call(signal === undefined ? { timeoutMs } : { timeoutMs, signal });
      } catch (error) {
        if (error instanceof CloudError) {
          throw error;
        }
        const failed = ConnectError.from(error);
        const again = MAY_PASS.has(failed.code) && performance.now() < until && !signal?.aborted;
        if (attempt < ATTEMPTS && again && isOnline()) {
          continue;
        }
        // What a browser says where nobody answers, or a page may not ask: no more than that.
        const unheard = failed.cause instanceof TypeError;
        throw new CloudError(failed.rawMessage, unheard ? "UNAVAILABLE" : reasonOf(failed));
      }
    }
  }
}

/** How many bytes a query's body has, before compression: what a saved call would have sent. */
export function bytesOf(asked: Asked): number {
  // Five of the frame, two of the message around the request.
  return toBinary(GenerateRequestSchema, requestOf(asked, true)).length + 7;
}

function requestOf(asked: Asked, asTokens: boolean): GenerateRequest {
  const { draft, tokenizerFingerprint } = asked;
  const tokens = { ids: [...asked.ids], tokenizerFingerprint };
  return create(GenerateRequestSchema, {
    requestId: crypto.randomUUID(),
    prompt: {
      content: asTokens ? { case: "tokens", value: tokens } : { case: "text", value: asked.text },
    },
    ...(asTokens && draft !== null
      ? {
          draft: {
            tokens: { ids: [...draft.ids], tokenizerFingerprint },
            logprobs: draft.logprobs.slice(0, draft.ids.length),
            ...(draft.score === null ? {} : { score: draft.score }),
            threshold: draft.threshold,
            rule: draft.rule,
          },
        }
      : {}),
    output: { logprobs: true },
    ...(asked.maxNewTokens === null ? {} : { stopping: { maxNewTokens: asked.maxNewTokens } }),
  });
}

function reasonOf(error: ConnectError): string {
  // Of the google.rpc.ErrorInfo that the server sends along, the reason is plain ASCII.
  const details = error.details.map((one) =>
    "value" in one && one.value instanceof Uint8Array ? new TextDecoder().decode(one.value) : "",
  );
  const names = Object.values(ErrorReason).filter((one): one is string => typeof one === "string");
  const said = names.find((name) =>
    details.some((detail) => detail.includes(name.replace(PREFIX, ""))),
  );
  return (
    said?.replace(PREFIX, "") ?? Code[error.code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase()
  );
}
