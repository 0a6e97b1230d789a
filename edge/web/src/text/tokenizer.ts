// Text to ids and back, as the artifact's tokenizer.json says; knows no model.
//
// By @huggingface/tokenizers, which reads the same file as Rust's `tokenizers` on other devices;
// tests/web holds it to that on 10,000 texts.

import { Tokenizer as Reader } from "@huggingface/tokenizers";
import { ArtifactError } from "../errors";

/** A tokenizer. */
export class Tokenizer {
  private readonly reader: Reader;

  /** @param where the bytes came from, for messages. */
  constructor(raw: Uint8Array, where: string) {
    try {
      const file: object = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
      this.reader = new Reader(file, {});
    } catch (error) {
      throw new ArtifactError(`${where}: cannot be read: ${(error as Error).message}`);
    }
  }

  /** The ids of a text, with the special tokens that the model expects. */
  encode(text: string): number[] {
    return this.reader.encode(text).ids;
  }

  /** The text of ids, special tokens left out. */
  decode(ids: readonly number[]): string {
    return ids.length === 0 ? "" : this.reader.decode([...ids], { skip_special_tokens: true });
  }

  /** What one token looks like, special or not. */
  piece(id: number): string {
    return this.reader.decode([id], { skip_special_tokens: false });
  }
}
