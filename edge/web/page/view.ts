// Draws tokens, the gauge and the answers; asks nobody.

import type { Saved } from "./saved";
import type { Answer, Token } from "./types";

/** An element of the page. */
export function byId<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`the page lacks #${id}`);
  }
  return found as Kind;
}

/** Say something, as an error or not. */
export function say(id: string, text: string, wrong = false): void {
  const where = byId(id);
  where.textContent = text;
  where.classList.toggle("error", wrong);
}

// From here on a token is drawn as sure.
const SURE = 0.8;

/** A token of the device's answer. */
export function drawToken(token: Token): void {
  const percent = Math.round(Math.exp(token.logprob) * 100);
  const item = document.createElement("li");
  item.className = Math.exp(token.logprob) >= SURE ? "sure" : "unsure";
  item.style.setProperty("--p", String(percent));
  const text = document.createElement("b");
  text.textContent = token.ended ? "(end)" : token.text || "·";
  const share = document.createElement("small");
  share.textContent = `${percent} %`;
  item.append(text, share);
  byId("tokens").append(item);
}

/** A score that is infinite has no place on a scale. */
const MOST = 10;

/** The score against the threshold; null where there is none yet. */
export function drawGauge(score: number | null, threshold: number): void {
  const gauge = byId("gauge");
  const shown = score === null ? 0 : Math.min(Number.isNaN(score) ? MOST : score, MOST);
  const scale = Math.max(threshold * 2, shown * 1.1, 0.1);
  gauge.style.setProperty("--tau", String((threshold / scale) * 100));
  gauge.style.setProperty("--score", String((shown / scale) * 100));
  byId("needle").hidden = score === null;
  const told =
    score === null
      ? "No answer yet."
      : `Doubt ${score.toFixed(3)}, threshold ${threshold.toFixed(2)}: ${score < threshold ? "the answer stands." : "the question goes up."}`;
  gauge.setAttribute("aria-label", told);
}

/** Who answered, and why. */
export function drawAnswer(answer: Answer, prompt: string): void {
  say("answer", answer.text || "(an empty answer)");
  const ms = Math.round(answer.seconds * 1e3);
  const by = {
    answered: "this device",
    deferred: answer.cloud?.model ?? "",
    degraded: "this device",
  };
  const why = {
    answered: `Answered by this device in ${ms} ms; nothing was sent.`,
    deferred: `Answered by ${answer.cloud?.model} in ${ms} ms; this device had said "${answer.device.text}".`,
    degraded: `The larger model was due and did not answer; the device's own answer stands. ${answer.reason ?? ""}`,
  }[answer.outcome];
  say("who", why, answer.outcome === "degraded");
  const row = document.createElement("tr");
  for (const text of [prompt, answer.text, by[answer.outcome], String(ms)]) {
    const cell = document.createElement("td");
    cell.textContent = text;
    row.append(cell);
  }
  const history = byId("history");
  history.prepend(row);
  while (history.children.length > 8) {
    history.lastElementChild?.remove();
  }
}

/** The running count. */
export function drawSaved(saved: Saved): void {
  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  say("count-asked", whole.format(saved.asked));
  say("count-calls", whole.format(saved.calls));
  say("count-bytes", whole.format(saved.bytes));
  say("count-ms", whole.format(saved.ms));
}
