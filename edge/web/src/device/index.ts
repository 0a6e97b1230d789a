// A device in a browser: the cascade, and the worker it runs in.

export { type Answer, type AskOptions, Cascade, type Event, type Token } from "./cascade";
export { type Asked, Device } from "./device";
export { Host, type LoadOrt } from "./host";
export type { Numbered, Opened, OpenOptions } from "./protocol";
