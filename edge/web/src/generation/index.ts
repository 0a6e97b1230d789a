// An opened artifact and the program that it runs; knows no network.

export { Artifact, type Delta, type OpenArtifact, type Stop } from "./artifact";
export type { Ort, Provider, Step } from "./runtime";
