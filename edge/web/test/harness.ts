// For tests and timings in a browser: the library within reach of who drives it, and no page.

import { Device } from "../src/index";
import { Tokenizer } from "../src/text";

Object.assign(globalThis, {
  // Of each text its ids, and what those say.
  tokenized: (file: string, texts: string[]) => {
    const tokenizer = new Tokenizer(new TextEncoder().encode(file), "tokenizer.json");
    return texts.map((text) => {
      const ids = tokenizer.encode(text);
      return [ids, tokenizer.decode(ids)];
    });
  },
  openDevice: async (options: Parameters<Device["open"]>[0]) => {
    const device = new Device(new Worker("worker.js", { type: "module" }));
    Object.assign(globalThis, { device });
    return device.open(options);
  },
});
