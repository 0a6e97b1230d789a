// The text of a response while it grows: text that may yet change is held back; knows no model.

// What decoders put where bytes are no character, or not yet.
const REPLACEMENT = "\ufffd";

/** Tokens in, text out. Its pieces together are the response, as long as its bytes are UTF-8. */
export class GrowingText {
  private readonly ids: number[] = [];
  private given = "";

  /** @param decode ids to text, special tokens left out. */
  constructor(private readonly decode: (ids: readonly number[]) => string) {}

  /** Go on by a token; what has become sure. */
  add(id: number): string {
    this.ids.push(id);
    const whole = this.decode(this.ids);
    // Half of a character becomes another text with the tokens that follow.
    const sure = whole.endsWith(REPLACEMENT) ? whole.replace(/\ufffd+$/, "") : whole;
    return this.take(sure);
  }

  /** The whole, and what of it had not been given. */
  end(): { text: string; rest: string } {
    const text = this.decode(this.ids);
    return { text, rest: this.take(text) };
  }

  private take(sure: string): string {
    if (!sure.startsWith(this.given) || sure.length <= this.given.length) {
      return "";
    }
    const more = sure.slice(this.given.length);
    this.given = sure;
    return more;
  }
}
