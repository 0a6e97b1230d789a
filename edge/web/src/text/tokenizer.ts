// Text to ids and back, as the artifact's tokenizer.json says; knows no model.
//
// By @huggingface/tokenizers, which reads the same file as Rust's `tokenizers` on other devices;
// tests/web holds it to that on 10,000 texts.

import { Tokenizer as Reader } from "@huggingface/tokenizers";
import { ArtifactError } from "../errors";

/** What of a tokenizer.json is looked at here. */
interface TokenizerFile {
  model?: { unk_token?: string | null };
}

// Blanks before a full stop are the decoder's own business, which tokenizer.json says all of.
const AS_IT_IS = { clean_up_tokenization_spaces: false, skip_special_tokens: false };
const PLAIN = { skip_special_tokens: true };

/** A tokenizer. */
export class Tokenizer {
  private readonly reader: Reader;

  /** @param where the bytes came from, for messages. */
  constructor(raw: Uint8Array, where: string) {
    try {
      const file: TokenizerFile = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
      // Of a WordLevel model it looks for the unknown token here alone, where slow tokenizers had it.
      this.reader = new Reader(file, { unk_token: file.model?.unk_token });
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
    return ids.length === 0 ? "" : this.reader.decode([...ids], { ...AS_IT_IS, ...PLAIN });
  }

  /** What one token looks like, special or not. */
  piece(id: number): string {
    return this.reader.decode([id], AS_IT_IS);
  }
}
