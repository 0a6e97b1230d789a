"use strict";
// Replays the queries of a page at its sliders' thresholds, as `replay` does in Python.
// Knows no tier by name and asks nothing outside the page.

const data = JSON.parse(document.getElementById("explorer").textContent);
const columns = data.columns.map(({ kind, data }) => {
  const { buffer } = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const kinds = { f4: Float32Array, i4: Int32Array, u2: Uint16Array, u1: Uint8Array };
  return new kinds[kind](buffer);
});
const form = document.getElementById("sliders");
// ---- The replay.

/** The tier at which each query stops; `at` has a step for each gate, -1 lets everything go on. */
function stops(trace, at) {
  const steps = trace.gates.map((gate) => columns[gate.step]);
  return Uint8Array.from({ length: trace.queries }, (_, query) => {
    let tier = 0;
    while (tier < steps.length && steps[tier][query] > at[tier]) tier++;
    return tier;
  });
}

/** Adds up, for each query, what the tiers take that it comes to. */
function spent(trace, top, tables) {
  const total = new Float64Array(trace.queries);
  tables.forEach((table, tier) => {
    for (let query = 0; query < total.length; query++) if (top[query] >= tier) total[query] += table[query];
  });
  return total;
}

const sum = (values) => values.reduce((total, one) => total + one, 0);

function quantile(sorted, share) {
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  const next = sorted[Math.min(low + 1, sorted.length - 1)];
  return sorted[low] + (next - sorted[low]) * (place - low);
}

function replay(trace, at) {
  const top = stops(trace, at);
  const level = trace.tiers.map((_, tier) => (tier < at.length ? trace.gates[tier].levels[at[tier]] : 0));
  const whole = trace.of ?? trace.queries;
  const tiers = trace.tiers.map((tier, place) => {
    let asked = 0, answered = 0, up = 0, down = 0, members = 0;
    const costs = Object.fromEntries(Object.keys(tier.costs).map((model) => [model, 0]));
    top.forEach((stop, query) => {
      if (stop < place) return;
      asked++;
      answered += stop === place;
      up += columns[tier.bytes_up][query];
      down += columns[tier.bytes_down][query];
      members += tier.asked ? columns[tier.asked[level[place]]][query] : 1;
      for (const model in costs) costs[model] += columns[tier.costs[model][level[place]]][query];
    });
    for (const model in costs) costs[model] /= trace.queries;
    const share = (value) => value / trace.queries;
    return {
      asked: share(asked), answered: share(answered), members: members / asked, costs,
      up: share(up) * whole, down: share(down) * whole,
    };
  });
  const moved = sum(tiers.map((tier) => tier.up + tier.down));
  const judged = trace.tiers.every((tier) => tier.correct !== null);
  const right = (total, stop, query) => total + columns[trace.tiers[stop].correct][query];
  return {
    tiers, whole,
    accuracy: judged ? top.reduce(right, 0) / trace.queries : null,
    callsSaved: 1 - tiers.at(-1).asked,
    bytesSaved: trace.last_only_bytes ? 1 - moved / whole / (trace.last_only_bytes / trace.queries) : null,
    costs: Object.fromEntries(
      Object.keys(tiers[0].costs).map((model) => [model, sum(tiers.map((tier) => tier.costs[model]))]),
    ),
    latencies: data.networks.map((_, network) => {
      const tables = trace.tiers.map((tier, place) => columns[tier.seconds[network][level[place]]]);
      return spent(trace, top, tables).sort();
    }),
  };
}

/** The calls and the right answers at every step of one gate, the others as they stand. */
function gateCurve(trace, at, gate) {
  const open = stops(trace, at.map((step, place) => (place === gate ? -1 : step)));
  const steps = columns[trace.gates[gate].step];
  const many = trace.gates[gate].thresholds.length;
  const calls = new Float64Array(many + 1);
  const gained = new Float64Array(many + 1);
  let right = 0;
  const correct = trace.tiers.map((tier) => columns[tier.correct]);
  open.forEach((stop, query) => {
    if (stop <= gate) { right += correct[stop][query]; return; }
    right += correct[gate][query];
    calls[steps[query]] += stop === trace.tiers.length - 1;
    gained[steps[query]] += correct[stop][query] - correct[gate][query];
  });
  for (let step = many - 1; step > 0; step--) {
    calls[step] += calls[step + 1];
    gained[step] += gained[step + 1];
  }
  return Array.from({ length: many }, (_, step) => [
    calls[step + 1] / trace.queries, (right + gained[step + 1]) / trace.queries,
  ]);
}

// ---- What it moves.

/** Draws in a figure's axes. */
function canvas(svg) {
  const [left, top, right, bottom] = svg.dataset.box.split(" ").map(Number);
  const along = (limits, from, to) => {
    const [low, high, kind] = limits.split(" ");
    const scaled = kind === "log" ? Math.log10 : Number;
    const [first, last] = [scaled(Number(low)), scaled(Number(high))];
    return (value) => {
      const share = (scaled(value) - first) / (last - first);
      return (from + (to - from) * Math.min(1, Math.max(0, share))).toFixed(2);
    };
  };
  return { x: along(svg.dataset.x, left, right), y: along(svg.dataset.y, bottom, top) };
}

/** The trace's own mark in a figure, made when it is first asked for. */
function mark(svg, trace, kind) {
  const id = `${svg.id}-live-${trace}`;
  const found = document.getElementById(id);
  if (found) return found;
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  made.id = id;
  made.setAttribute("class", "live");
  made.style.setProperty("--colour", data.traces[trace].colour);
  return svg.appendChild(made);
}

function drawLatency(svg, trace, sorted) {
  const { x, y } = canvas(svg);
  const steps = Math.min(sorted.length, 400);
  let path = `M${x(sorted[0])} ${y(0)}`;
  for (let step = 1; step <= steps; step++) {
    const share = step / steps;
    path += `H${x(sorted[Math.ceil(share * sorted.length - 1e-9) - 1])}V${y(share)}`;
  }
  mark(svg, trace, "path").setAttribute("d", path);
}

/** Cells of a row at the top of a table's body, made from its first row. */
function liveRow(table, key, cells) {
  let row = table.querySelector(`tr[data-live="${key}"]`);
  if (!row) {
    const body = table.tBodies[0];
    row = body.rows[0].cloneNode(true);
    row.dataset.live = key;
    const before = [...body.rows].find((one) => one.dataset.live === undefined);
    body.insertBefore(row, before);
  }
  cells.forEach(([text, detail], place) => {
    const parts = [document.createTextNode(text)];
    if (detail) {
      const small = document.createElement("span");
      small.className = "soft";
      small.textContent = detail;
      parts.push(document.createElement("br"), small);
    }
    row.cells[place].replaceChildren(...parts);
  });
  return row;
}

function say(key, text) {
  document.querySelector(`[data-say="${key}"]`).textContent = text;
}

function costCells(trace, found) {
  return [["flops_per_query", 1], ["money", 1e6]].flatMap(([model, times]) => {
    if (!(model in found.costs)) return [];
    const alone = sum(columns[trace.tiers.at(-1).costs[model].at(-1)]) / trace.queries;
    const change = 1 - found.costs[model] / alone;
    const detail = alone ? `${percent(Math.abs(change))} ${change >= 0 ? "saved" : "more"}` : "";
    return [[count(times * found.costs[model]), detail]];
  });
}

function showTiers(trace, place, found) {
  found.tiers.forEach((tier, k) => {
    const key = `${place}.${k}`;
    say(`${key}.answered`, percent(tier.answered));
    document.querySelector(`[data-bar="${key}"]`).style.width = `${100 * tier.answered}%`;
    say(`${key}.asked`, `${Math.round(tier.asked * found.whole).toLocaleString("en-US")} queries (${percent(tier.asked)})`);
    if (trace.tiers[k].linked) say(`${key}.bytes`, `${bytes(tier.up)} up, ${bytes(tier.down)} down`);
    if ("money" in tier.costs) say(`${key}.money`, count(1e6 * tier.costs.money));
  });
}

function showTrace(place) {
  const trace = data.traces[place];
  const sliders = [...form.querySelectorAll(`input[data-trace="${place}"]`)];
  const at = sliders.map((slider) => Number(slider.value));
  const taus = at.map((step, gate) => trace.gates[gate].labels[step]).join(", ");
  const found = replay(trace, at);
  sliders.forEach((slider, gate) => {
    const label = trace.gates[gate].labels[at[gate]];
    const on = percent(found.tiers[gate + 1].asked);
    slider.setAttribute("aria-valuetext", `${label}: ${on} of all queries go on`);
    slider.nextElementSibling.textContent = `${label}: ${on} go on`;
  });
  const share = (value) => (value === null ? NONE : percent(value));
  liveRow(document.getElementById(`answers-${place}`), "now", [
    [`sliders: ${taus}`],
    ...found.tiers.map((tier, k) => {
      const all = trace.tiers[k].members;
      return [percent(tier.answered), all > 1 && tier.asked ? `asking ${fixed(tier.members, 2)} of ${all}` : ""];
    }),
    [share(found.accuracy)], [share(found.callsSaved)], [share(found.bytesSaved)],
    ...costCells(trace, found),
  ]);
  say(`${place}.saved`, [
    ...(found.accuracy === null ? [] : [`${percent(found.accuracy)} right`]),
    `${percent(found.callsSaved)} of the calls saved`,
    ...(found.bytesSaved === null ? [] : [
      found.bytesSaved < 0 ? `${percent(-found.bytesSaved)} more bytes moved` : `${percent(found.bytesSaved)} of the bytes saved`,
    ]),
  ].join(", "));
  showTiers(trace, place, found);
  const latency = document.getElementById(`latency-table-${place}`);
  found.latencies.forEach((sorted, network) => {
    const times = [quantile(sorted, 0.5), quantile(sorted, 0.95), sum(sorted) / sorted.length];
    const row = liveRow(latency, String(network), [
      [data.networks[network]], [`sliders: ${taus}`], ...times.map((one) => [seconds(one)]),
    ]);
    row.dataset.network = network;
    const same = latency.querySelector(`tr[data-network="${network}"]:not([data-live])`);
    for (const cell of [5, 6, 7]) row.cells[cell].textContent = same.cells[cell].textContent;
    // How many calls are made again is known at the replayed thresholds alone.
    for (const cell of [...row.cells].slice(8)) cell.textContent = NONE;
    drawLatency(document.getElementById(`latency-${network}`), place, sorted);
    const own = document.getElementById(`latency-${network}-table`);
    const shares = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1];
    const name = data.traces.length > 1 ? `${trace.name}, ` : "";
    liveRow(own, String(place), [
      [`${name}sliders: ${taus}`], ...shares.map((one) => [seconds(quantile(sorted, one))]),
    ]);
  });
  showCurve(trace, place, at, found);
  return { trace: trace.name, taus: at.map((step, gate) => trace.gates[gate].thresholds[step]), found };
}

function showCurve(trace, place, at, found) {
  const svg = document.getElementById("curve");
  if (!svg) return;
  const { x, y } = canvas(svg);
  const table = document.getElementById(`curve-table-${place}`);
  let row = 0;
  if (at.length > 1) {
    at.forEach((_, gate) => {
      const points = gateCurve(trace, at, gate);
      const path = points.map(([calls, right]) => `${x(calls)} ${y(right)}`).join("L");
      document.querySelector(`#curve-gate-${place}-${gate} path`).setAttribute("d", `M${path}`);
      for (const [calls, right] of points) {
        const { cells } = table.tBodies[0].rows[row++];
        cells[1].textContent = percent(calls);
        cells[2].textContent = percent(right);
      }
    });
  }
  const dot = mark(svg, place, "circle");
  dot.setAttribute("cx", x(found.tiers.at(-1).asked));
  dot.setAttribute("cy", y(found.accuracy));
  dot.setAttribute("r", 4);
}

// ---- The page.

// Latency, deadlines, spending: each row begins with its network.
const OF_NETWORKS = '[id^="latency-table-"] tbody tr';
for (const row of document.querySelectorAll(OF_NETWORKS)) {
  row.dataset.network = data.networks.indexOf(row.cells[0].firstChild.textContent);
}

let shown = [];
const show = () => { shown = data.traces.map((_, place) => showTrace(place)); };

let waiting = false;
form.addEventListener("input", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; show(); });
});

function showNetwork(box) {
  const { network } = box.dataset;
  const hidden = !box.checked;
  document.getElementById(`figure-latency-${network}`).hidden = hidden;
  const rows = document.querySelectorAll(`${OF_NETWORKS}[data-network="${network}"]`);
  for (const row of rows) row.hidden = hidden;
}

const boxes = document.querySelectorAll("input[data-network]");
for (const box of boxes) box.addEventListener("change", () => showNetwork(box));

form.addEventListener("reset", () => requestAnimationFrame(() => {
  boxes.forEach(showNetwork);
  show();
}));

document.getElementById("save").addEventListener("click", () => {
  const quoted = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const rows = [["trace", "thresholds", "network", "quantity", "value"]];
  for (const { trace, taus, found } of shown) {
    const at = taus.map((tau) => tau ?? "inf").join(",");
    const add = (network, quantity, value) => rows.push([trace, at, network, quantity, value ?? ""]);
    add("", "accuracy", found.accuracy);
    add("", "calls_saved", found.callsSaved);
    add("", "bytes_saved", found.bytesSaved);
    for (const model in found.costs) add("", model, found.costs[model]);
    found.tiers.forEach((tier, k) => {
      const { name } = data.traces.find((one) => one.name === trace).tiers[k];
      add("", `answered by ${name}`, tier.answered);
      add("", `bytes up to ${name}`, tier.up);
      add("", `bytes down from ${name}`, tier.down);
    });
    found.latencies.forEach((sorted, network) => {
      for (const share of [0.5, 0.9, 0.95, 0.99]) add(data.networks[network], `p${100 * share}_s`, quantile(sorted, share));
      add(data.networks[network], "mean_s", sum(sorted) / sorted.length);
    });
  }
  const text = rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  const link = document.createElement("a");
  link.download = "sliders.csv";
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.click();
  URL.revokeObjectURL(link.href);
});

show();
form.hidden = false;
for (const one of document.querySelectorAll(".scripted")) one.hidden = false;
for (const one of document.querySelectorAll(".unscripted")) one.hidden = true;
