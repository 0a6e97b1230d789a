// Deferral rules: scores, bounds and early stops; knows no model, no network.

export { type Early, EarlyStop, type Likely } from "./early";
export { type Layer, MAX_ROUTER_BYTES, Router } from "./router";
export { DeferralRule, defers } from "./rule";
export { MeanRule, RULES, ruleNamed } from "./rules";
