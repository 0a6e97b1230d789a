// The demo's page: a question, the device's answer, the network, and what was saved.

import { Device, type Event, type Network, type Opened, type OpenOptions } from "../src/index";
import { Counter } from "./saved";
import { PROFILES, type Settings, settings, TASKS } from "./settings";
import { byId, drawAnswer, drawGauge, drawSaved, drawToken, say } from "./view";

// Where no threshold has been calibrated.
const THRESHOLD = 0.3;

// In the answer's place until its first piece comes from above.
const WAITING = "...";

const device = new Device(new Worker("worker.js", { type: "module", name: "device" }));
const counter = new Counter();
const task = byId<HTMLSelectElement>("task");
const prompt = byId<HTMLInputElement>("prompt");
const threshold = byId<HTMLInputElement>("threshold");
const profile = byId<HTMLSelectElement>("profile");
const delay = byId<HTMLInputElement>("delay");
const airplane = byId<HTMLInputElement>("airplane");
let above = false;
let asking = 0;

function offer(): void {
  for (const [index, one] of TASKS.entries()) {
    task.append(new Option(one.label, String(index)));
  }
  for (const [index, one] of PROFILES.entries()) {
    profile.append(new Option(one.name, String(index), one.name === "4g", one.name === "4g"));
  }
  chooseTask();
  chooseProfile();
}

function chosen() {
  return TASKS[Number(task.value)] ?? TASKS[0];
}

function chooseTask(): void {
  const one = chosen();
  say("prompt-label", one?.asks ?? "");
  const [first = ""] = one?.examples ?? [];
  prompt.value = first;
  byId("examples").replaceChildren(
    ...(one?.examples ?? []).map((text) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.addEventListener("click", () => {
        prompt.value = text;
        void ask();
      });
      return button;
    }),
  );
}

function chooseProfile(): void {
  const one = PROFILES[Number(profile.value)];
  delay.value = String(Math.round(one?.rtt_ms ?? 0));
  say("source", one === undefined ? "" : `${one.name}: ${one.source}`);
  say("away", one?.told ? `Here too ${one.told}. Airplane mode has that at once.` : "");
  void changeNetwork();
}

async function changeNetwork(): Promise<void> {
  const one = PROFILES[Number(profile.value)];
  const rttMs = Number(delay.value);
  say("delay-value", `${rttMs} ms`);
  byId("path").style.setProperty("--trip", `${Math.max(80, rttMs / 2)}ms`);
  byId("path").classList.toggle("cut", airplane.checked);
  const network: Network = {
    name: one?.name ?? "",
    rttMs,
    upMbps: one?.up_mbps ?? null,
    downMbps: one?.down_mbps ?? null,
    outages: one?.outages ?? [],
    airplane: airplane.checked,
  };
  await device.setNetwork(network);
}

function changeThreshold(): void {
  say("threshold-value", Number(threshold.value).toFixed(2));
  drawGauge(null, Number(threshold.value));
}

function hear(event: Event): void {
  if (event.kind === "token") {
    drawToken(event.token);
  } else if (event.kind === "scored") {
    const tau = event.threshold ?? Number(threshold.value);
    drawGauge(event.score ?? Number.POSITIVE_INFINITY, tau);
    say("verdict", verdict(event.score, tau, event.deferred));
    byId("path").classList.toggle("busy", event.deferred);
    say("above", event.deferred ? "Asking the larger model ..." : "Not asked.");
    say("answer", event.deferred ? WAITING : "");
  } else {
    const answer = byId("answer");
    answer.textContent = (answer.textContent ?? "").replace(WAITING, "") + event.text;
  }
}

function verdict(score: number | null, tau: number, deferred: boolean): string {
  if (!above) {
    return "There is no larger model to ask: the answer stands.";
  }
  if (score === null) {
    return "Sure to be too unsure: the answer was not finished, and the question goes up.";
  }
  return deferred
    ? `Doubt ${score.toFixed(3)} reaches ${tau.toFixed(2)}: the question goes up.`
    : `Doubt ${score.toFixed(3)} is below ${tau.toFixed(2)}: the answer stands.`;
}

async function ask(): Promise<void> {
  asking += 1;
  const turn = asking;
  const text = prompt.value.trim();
  byId("tokens").replaceChildren();
  for (const id of ["verdict", "above", "who"]) {
    say(id, "");
  }
  say("answer", "");
  try {
    const options = { threshold: Number(threshold.value) };
    const { answer, traffic, wouldSend } = await device.ask(
      `${chosen()?.prefix ?? ""}${text}`,
      options,
      hear,
    );
    if (answer === null || turn !== asking) {
      return;
    }
    drawAnswer(answer, text);
    if (answer.cloud !== null) {
      say(
        "above",
        `It answered in ${Math.round((answer.seconds - answer.device.seconds) * 1e3)} ms.`,
      );
    } else if (answer.outcome === "degraded") {
      say("above", "It did not answer.", true);
    }
    counter.add(answer, traffic, wouldSend, Number(delay.value));
    drawSaved(counter.saved);
  } catch (error) {
    say("answer", "-");
    say("who", (error as Error).message, true);
  } finally {
    if (turn === asking) {
      byId("path").classList.remove("busy");
    }
  }
}

/** `?provider=webgpu` or `auto` in the address; this model is too small to gain from a GPU. */
function provider(): NonNullable<OpenOptions["provider"]> {
  const asked = new URLSearchParams(location.search).get("provider");
  return asked === "webgpu" || asked === "auto" ? asked : "wasm";
}

async function open(told: Settings): Promise<void> {
  const progress = byId<HTMLProgressElement>("progress");
  const opened = await device.open(
    {
      artifact: told.artifact,
      runtime: "ort/",
      cloud: told.cloud,
      provider: provider(),
      ...(told.manifestSha256 === undefined ? {} : { manifestSha256: told.manifestSha256 }),
    },
    ({ bytes, of }) => {
      progress.value = of === 0 ? 1 : bytes / of;
    },
  );
  progress.hidden = true;
  above = told.cloud !== null;
  const tau = opened.threshold ?? THRESHOLD;
  threshold.max = String(Math.max(1, Math.ceil(tau * 4 * 10) / 10));
  threshold.value = String(tau);
  changeThreshold();
  describe(opened);
  byId<HTMLButtonElement>("ask").disabled = false;
}

function describe(opened: Opened): void {
  const { files } = opened;
  const whence =
    files.fetched > 0
      ? `${files.fetched.toLocaleString("en")} bytes fetched`
      : "kept from the last visit";
  say(
    "state",
    `Ready: ${opened.model}, ${opened.parameters.toLocaleString("en")} parameters, ${whence}, checked.`,
  );
  say(
    "about",
    `${opened.model}: ${opened.quantization}. Runs on ${opened.provider} with ${opened.threads} thread${opened.threads === 1 ? "" : "s"}; opened in ${Math.round(opened.seconds * 1e3)} ms.${files.notKept === null ? "" : ` Not kept for the next visit: ${files.notKept}.`}`,
  );
  say(
    "saved-hint",
    "Against asking the larger model every time; a call that was not made is taken to be as long as those that were. Bytes are of HTTP bodies.",
  );
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  void ask();
});
task.addEventListener("change", chooseTask);
threshold.addEventListener("input", changeThreshold);
profile.addEventListener("change", chooseProfile);
delay.addEventListener("input", () => void changeNetwork());
airplane.addEventListener("change", () => void changeNetwork());
navigator.serviceWorker?.register("sw.js", { type: "module" }).catch(() => {
  // Without one the page works, but not offline.
});
offer();
settings()
  .then(open)
  .catch((error: Error) => {
    byId("progress").hidden = true;
    say("state", `The model cannot be opened: ${error.message}`, true);
  });
