// Texts and tokens; knows no model.

export { GrowingText } from "./growing";
export { Tokenizer } from "./tokenizer";
