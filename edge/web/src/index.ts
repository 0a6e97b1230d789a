// @escalade/web: the device of a cascade in a browser. The face of the package.
//
// Most pages need `Device` and a worker of `@escalade/web/worker`; the rest is for who runs the
// model in a worker of their own.

export { Folder, type Manifest, Memory, type Place, PrivateFiles, parseManifest } from "./artifact";
export { DeferralRule, defers, type Early, EarlyStop, Router, RULES, ruleNamed } from "./deferral";
export {
  type Answer,
  type AskOptions,
  Cascade,
  Device,
  type Event,
  Host,
  type Opened,
  type OpenOptions,
  type Token,
} from "./device";
export {
  ArtifactError,
  CloudError,
  EscaladeError,
  ParityError,
  PromptError,
} from "./errors";
export { Artifact, type Provider, type Step } from "./generation";
export { Cloud, type CloudOptions, DIRECT, Link, type Network, type Outage } from "./wire";
