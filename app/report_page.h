// The page of `trireme report`: its style, and the script that draws the data put in the place of @DATA@.
#pragma once

#include <string_view>

namespace trireme {

inline constexpr std::string_view report_template = R"page(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Trireme runs</title>
<style>
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1180px; padding: 0 1em; color: #1c2733; }
tr.alert td { color: #c62828; } #events td { white-space: nowrap; }
#events td:last-child { white-space: normal; overflow-wrap: anywhere; }
h1 { font-size: 22px; margin: 0 0 .6em; } h2 { font-size: 16px; margin: 2em 0 .6em; }
#legend span { margin-right: 1.6em; white-space: nowrap; } #legend i { display: inline-block; width: 1.6em; height: 3px;
  vertical-align: middle; margin-right: .5em; }
#charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(360px, 1fr)); gap: 18px; }
figure { margin: 0; border: 1px solid #dde3e9; border-radius: 6px; padding: 8px 10px; }
figcaption { font-weight: 600; } svg { width: 100%; display: block; } svg text { font-size: 11px; fill: #5b6875; }
table { border-collapse: collapse; } td, th { padding: 3px 14px 3px 0; text-align: left; border-bottom: 1px solid #e6ebf0;
  vertical-align: top; } th { font-weight: 600; } td:first-child { font-family: ui-monospace, monospace; }
</style>
<h1>Trireme runs</h1>
<div id="legend"></div>
<h2>Curves</h2>
<div id="charts"></div>
<h2>Events</h2>
<div id="events"></div>
<h2>Configurations that differ</h2>
<div id="differences"></div>
<script type="application/json" id="data">@DATA@</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const colours = ["#1769aa", "#d1495b", "#2e8b57", "#b8860b", "#7b4fa3", "#008b8b", "#a0522d", "#555"];
const colour = i => colours[i % colours.length];
const make = (name, text, parent) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
};
// Runs are called by what tells them apart in their paths.
const parts = data.runs.map(run => run.name.split("/"));
let shared = 0;
while (parts.every(path => path.length > shared + 1 && path[shared] === parts[0][shared])) ++shared;
data.runs.forEach((run, i) => { run.path = run.name; run.name = parts[i].slice(shared).join("/"); });
data.runs.forEach((run, i) => {
  const entry = make("span", undefined, document.getElementById("legend"));
  make("i", undefined, entry).style.background = colour(i);
  entry.append(run.name + ", " + run.steps + " steps");
  entry.title = run.path;
});
const any = (kind, least) => data.runs.some(run => run.events.some(event => event.event === kind && event.step >= least));
if (any("begin", 1)) make("span", "\u2506 restart", document.getElementById("legend"));
if (any("alert", 0)) make("span", "\u25bc alert", document.getElementById("legend"));

const titles = {loss: "Loss, nats", validation_loss: "Validation loss, nats", grad_norm: "Gradient norm",
  learning_rate: "Learning rate", tokens_per_second: "Tokens a second", samples_per_second: "Samples a second",
  flop_utilization: "Model FLOP utilisation", step_seconds: "Step time, s", data_wait_share: "Data wait, share of the step",
  checkpoint_stall_seconds: "Checkpoint stall, s"};
const words = event => (event.name ? event.name + ": " : "") + event.what;
const moment = seconds => new Date(1000 * seconds).toISOString().slice(0, 19).replace("T", " ");
function number(value) {
  const size = Math.abs(value), short = part => String(Number(part.toPrecision(3)));
  if (size !== 0 && (size < 1e-3 || size >= 1e13)) return value.toExponential(1);
  for (const [unit, name] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (size >= Math.max(unit, 1e4)) return short(value / unit) + name;
  return short(value);
}

const last = Math.max(1, ...data.runs.map(run => run.steps));  // one axis for all charts

function chart(key) {
  const shown = data.runs.map((run, i) => ({points: run.curves[key] || [], i})).filter(line => line.points.length);
  if (!shown.length) return;
  const all = shown.flatMap(line => line.points);
  let low = Infinity, high = -Infinity;
  for (const [, value] of all) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low > 0 && low < 0.5 * high && key !== "loss" && key !== "validation_loss") low = 0;
  // A first step far above all others would press them flat: it is cut, and told.
  const values = all.map(point => point[1]).sort((a, b) => a - b), usual = values[Math.floor(0.98 * (values.length - 1))];
  const peak = (key === "loss" || key === "grad_norm") && usual > low && high - low > 4 * (usual - low) ? high : undefined;
  if (peak !== undefined) high = usual + 0.25 * (usual - low);
  if (low === high) high = low + (Math.abs(low) || 1);
  const w = 360, h = 210, left = 52, right = 10, top = 10, bottom = 24;
  const x = step => left + (w - left - right) * step / last;
  const y = value => top + (h - top - bottom) * (high - Math.min(value, high)) / (high - low);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
  const add = (name, attributes, text) => {
    const element = document.createElementNS(svg.namespaceURI, name);
    for (const attribute in attributes) element.setAttribute(attribute, attributes[attribute]);
    if (text !== undefined) element.textContent = text;
    svg.append(element);
    return element;
  };
  for (let tick = 0; tick <= 4; ++tick) {
    const value = low + (high - low) * tick / 4, step = Math.round(last * tick / 4);
    add("line", {x1: left, x2: w - right, y1: y(value), y2: y(value), stroke: "#e6ebf0"});
    add("text", {x: left - 6, y: y(value) + 4, "text-anchor": "end"}, number(value));
    add("text", {x: x(step), y: h - 6, "text-anchor": tick === 4 ? "end" : "middle"}, step);
  }
  for (const {i} of shown)
    for (const event of data.runs[i].events)
      if (event.event === "begin" && event.step > 0)
        add("line", {x1: x(event.step), x2: x(event.step), y1: top, y2: h - bottom, stroke: colour(i),
          "stroke-dasharray": "2 3", opacity: .7, class: "restart"});
  for (const {i} of shown)
    for (const event of data.runs[i].events)
      if (event.event === "alert") {
        const at = x(Math.min(event.step, last));
        if (event.end_step > event.step)
          add("rect", {x: at, y: top, width: x(Math.min(event.end_step, last)) - at, height: h - top - bottom,
            fill: colour(i), opacity: .12, class: "alert-span"});
        const mark = add("path", {d: `M${at} ${h - bottom} V${top} m-4 -7 h8 l-4 7 z`, stroke: colour(i), fill: colour(i),
          "stroke-width": 1, opacity: .8, class: "alert"});
        mark.append(document.createElementNS(svg.namespaceURI, "title"));
        mark.firstChild.textContent = data.runs[i].name + ", step " + event.step + ": " + words(event);
      }
  for (const {points, i} of shown) {
    if (points.length === 1) add("circle", {cx: x(points[0][0]), cy: y(points[0][1]), r: 3, fill: colour(i)});
    add("polyline", {points: points.map(([step, value]) => x(step).toFixed(1) + "," + y(value).toFixed(1)).join(" "),
      fill: "none", stroke: colour(i), "stroke-width": 1.4, opacity: .85});
  }
  if (peak !== undefined)
    add("text", {x: w - right, y: top + 10, "text-anchor": "end", class: "peak"}, "up to " + number(peak));
  const figure = make("figure", undefined, document.getElementById("charts"));
  figure.dataset.key = key;
  make("figcaption", titles[key] || key[0].toUpperCase() + key.slice(1).replaceAll("_", " "), figure);
  figure.append(svg);
}
const keys = new Set(Object.keys(titles).concat(data.runs.flatMap(run => Object.keys(run.curves))));
keys.forEach(chart);

function table(place, heads, rows, none) {
  const parent = document.getElementById(place);
  if (!rows.length) { make("p", none, parent); return; }
  const grid = make("table", undefined, parent), head = make("tr", undefined, grid);
  heads.forEach(text => make("th", text, head));
  rows.forEach(cells => {
    const row = make("tr", undefined, grid);
    cells.forEach(text => make("td", text, row));
    if (cells.includes("alert")) row.className = "alert";
  });
}
const rows = [];
for (const run of data.runs) {
  let layout = null, ended = true;
  for (const event of run.events) {
    const time = event.time ? moment(event.time) : "";
    let what = event.event, more = event.why || "";
    if (what === "alert") more = words(event) + (event.end_time ? "; until " + moment(event.end_time) : "");
    if (what === "stopped" || what === "done") ended = true;
    if (what === "begin") {
      what = layout === null && event.step === 0 ? "began" : "restarted";
      more = event.ranks + (event.ranks === 1 ? " rank, " : " ranks, ") + event.layout + ", " + event.device;
      if (layout !== null && layout !== event.layout) more += "; the layout was " + layout;
      if (!ended) more += "; the life before had ended without a word";
      layout = event.layout;
      ended = false;
    }
    rows.push([run.name, event.step, time, what, more]);
  }
}
table("events", ["run", "step", "time, UTC", "what", ""], rows, "The runs have no events.jsonl (log.events).");
table("differences", ["key"].concat(data.runs.map(run => run.name)), data.differences,
  data.runs.length > 1 ? "None that is known." : "There is one run.");
</script>
</html>
)page";

}  // namespace trireme
