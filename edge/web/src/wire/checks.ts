// What a server says, held against what can be; as `escalade/edge/wire/checks.py`.

import { CloudError } from "../errors";
import {
  type GenerateRequest,
  type GenerateResponse,
  type GetModelInfoResponse,
  StopReason,
} from "./gen/escalade/v1/cascade_pb";

// A float32 log-probability of a certain token may be rounded to just above 0.
const ROUNDING = 1e-5;
const LONGEST_NAME = 256;
const ANSWERS = new Set([
  StopReason.END_OF_SEQUENCE,
  StopReason.STOP_SEQUENCE,
  StopReason.MAX_TOKENS,
  StopReason.CONTEXT_LIMIT,
]);

/** Refuse an answer that is to another question, or none. */
export function checkAnswer(
  request: GenerateRequest,
  response: GenerateResponse,
  vocabularySize: number | null,
): void {
  const tokens = response.tokenIds.length;
  const { logprobs } = response;
  let wrong: string | null = null;
  if (response.requestId !== request.requestId || !ANSWERS.has(response.stopReason)) {
    wrong = "the answer is not to this question";
  } else if (logprobs.some((value) => !(value <= ROUNDING))) {
    wrong = "a log-probability of the answer is above 0 or no number";
  } else if (logprobs.length > 0 && logprobs.length !== tokens && logprobs.length !== tokens + 1) {
    wrong = `${logprobs.length} log-probabilities for ${tokens} tokens`;
  } else if (vocabularySize !== null && response.tokenIds.some((id) => id >= vocabularySize)) {
    wrong = `a token id beyond its tokenizer's ${vocabularySize}`;
  } else if (!isName(response.model?.name ?? "")) {
    wrong = `a name of at most ${LONGEST_NAME} printable characters`;
  } else if (response.reports.some((one) => !(one.seconds >= 0 && Number.isFinite(one.seconds)))) {
    wrong = "its times are negative or no numbers";
  }
  refuse(wrong);
}

/** Refuse a server that does not say who it is. */
export function checkInfo(info: GetModelInfoResponse): void {
  const name = info.model?.name ?? "";
  refuse(name !== "" && isName(name) ? null : "GetModelInfo names no model");
}

function isName(name: string): boolean {
  return name.length <= LONGEST_NAME && !/\p{C}/u.test(name);
}

function refuse(wrong: string | null): void {
  if (wrong !== null) {
    throw new CloudError(`the server says what cannot be: ${wrong}`, "BAD_ANSWER");
  }
}
