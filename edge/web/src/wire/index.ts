// The wire of every cascade, over gRPC-Web; knows no model.

export { type Asked, bytesOf, Cloud, type CloudOptions, type Heard } from "./cloud";
export { DIRECT, Link, type Network, type Traffic } from "./link";
export type { Outage } from "./outages";
