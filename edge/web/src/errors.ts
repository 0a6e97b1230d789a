// What can go wrong on a device in a browser; knows no part.
//
//   EscaladeError
//   ├── ArtifactError    the folder is not one, was altered, or its program cannot be run here
//   ├── ParityError      the program does not answer as its manifest says
//   ├── PromptError      the prompt is empty, or too long
//   └── CloudError       the tier above did not answer; `reason` as the wire names it

/** Of everything that this library raises by itself. */
export class EscaladeError extends Error {
  override name = "EscaladeError";
}

/** The artifact is none, was altered, or cannot be run here. */
export class ArtifactError extends EscaladeError {
  override name = "ArtifactError";
}

/** The program gives other tokens or scores than its manifest says. */
export class ParityError extends EscaladeError {
  override name = "ParityError";
}

/** A prompt that the model cannot take. */
export class PromptError extends EscaladeError {
  override name = "PromptError";
}

/** The tier above did not answer. */
export class CloudError extends EscaladeError {
  override name = "CloudError";

  /**
   * @param reason of `ErrorReason` without its prefix, or the gRPC code's name.
   */
  constructor(
    message: string,
    readonly reason: string,
  ) {
    super(message);
  }
}

const KINDS = { ArtifactError, ParityError, PromptError } as const;

/** An error as it travels between a worker and its page. */
export interface Told {
  name: string;
  message: string;
  reason?: string;
}

/** What travels of an error. */
export function told(error: unknown): Told {
  if (error instanceof CloudError) {
    return { name: error.name, message: error.message, reason: error.reason };
  }
  if (error instanceof Error) {
    return { name: error.name, message: error.message };
  }
  return { name: "Error", message: String(error) };
}

/** The error that was told of. */
export function heard(one: Told): Error {
  if (one.name === "CloudError") {
    return new CloudError(one.message, one.reason ?? "UNKNOWN");
  }
  const kind = KINDS[one.name as keyof typeof KINDS] ?? EscaladeError;
  return new kind(one.message);
}
