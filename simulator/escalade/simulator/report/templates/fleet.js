"use strict";
// Shows the groups of a fleet that are switched on. Draws nothing but their load anew: latencies are
// curves of one group each, replicas and what waits are of the whole run.

const data = JSON.parse(document.getElementById("explorer").textContent);
const boxes = [...document.querySelectorAll("input[data-group]")];
const svg = document.getElementById("load");
const numbers = (name) => svg.dataset[name].split(" ").map(Number);
const [left, top_, right, bottom] = numbers("box");
const [lowest, highest] = numbers("y");
const lines = data.kinds.map((_, kind) => document.querySelector(`#load-line-${kind} path`));
const cells = [...document.querySelectorAll("#load-table tbody tr")].map((row) => [...row.cells].slice(1));
// As they came: of all groups.
const whole = {
  lines: lines.map((one) => one.getAttribute("d")),
  cells: cells.map((row) => row.map((one) => one.textContent)),
};

/** Queries a second of each stretch of time, of the groups that are on. */
function rates(kind, on) {
  const total = new Array(data.stretches).fill(0);
  for (const group of on) data.groups[group].load[kind].forEach((many, k) => { total[k] += many / data.width_s; });
  return total;
}

function steps(values) {
  const x = (k) => (left + ((right - left) * k) / values.length).toFixed(3);
  const y = (value) => (bottom - ((bottom - top_) * (value - lowest)) / (highest - lowest)).toFixed(3);
  return `M ${x(0)} ${y(values[0])} ` + values.map((value, k) => `V ${y(value)} H ${x(k + 1)}`).join(" ");
}

function mean(values, row, rows) {
  const some = values.slice((row * values.length) / rows, ((row + 1) * values.length) / rows);
  return some.reduce((total, one) => total + one, 0) / some.length;
}

function showLoad(on) {
  const all = on.length === boxes.length;
  lines.forEach((line, kind) => {
    const values = all ? [] : rates(kind, on);
    line.setAttribute("d", all ? whole.lines[kind] : steps(values));
    cells.forEach((row, k) => {
      row[kind].textContent = all ? whole.cells[k][kind] : threeDigits(mean(values, k, cells.length));
    });
  });
}

function hide(selector, hidden) {
  for (const one of document.querySelectorAll(selector)) one.toggleAttribute("hidden", hidden);
}

function show() {
  const on = boxes.flatMap((box, group) => (box.checked ? [group] : []));
  showLoad(on);
  boxes.forEach((box, group) => {
    const own = data.groups[group];
    hide(`#latency-all-${group}, #latency-gateway-${group}, #latency-cloud-${group}`, !box.checked);
    hide(`.map li:nth-child(${group + 1}), #answered-table tbody tr:nth-child(${group + 1})`, !box.checked);
    hide(own.latencies.map((row) => `#latency-table tbody tr:nth-child(${row + 1})`).join(), !box.checked);
    for (const k of own.outages) hide(`#load-outage-${k}`, !box.checked);
  });
  const names = on.map((group) => data.groups[group].name).join(", ") || "no group";
  document.getElementById("shown").textContent =
    on.length === boxes.length ? "" : `Load and latency are of ${names}; replicas and what waits of all.`;
}

for (const box of boxes) box.addEventListener("change", show);
document.getElementById("groups").addEventListener("reset", () => requestAnimationFrame(show));
show();
for (const one of document.querySelectorAll(".scripted")) one.hidden = false;
