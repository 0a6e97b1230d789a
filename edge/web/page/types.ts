// The names of the library that the page's parts share.

export type { Answer, Event, Opened, Token } from "../src/index";
export type { Traffic } from "../src/wire";
