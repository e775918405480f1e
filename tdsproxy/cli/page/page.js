"use strict";
// What the server tells has times of its own clock, without a zone: they are kept as such, counted as if UTC.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000, TOP = 14, EVERY = 5000;
const chosen = new Map();
let last = null;

const $ = (id) => document.getElementById(id);
const at = (text) => Date.parse(text.slice(0, 23) + "Z");
const shown = (ms) => new Date(ms).toISOString().slice(0, 23);
const short = (ms) => new Date(ms).toISOString().slice(0, 19).replace("T", " ");

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes, title) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (title) {
    const told = document.createElementNS(SVG, "title");
    told.textContent = title;
    made.append(told);
  }
  return made;
}

function size(bytes) {
  for (const unit of ["bytes", "KB", "MB", "GB"]) {
    if (bytes < 1024 || unit === "GB") return `${bytes.toFixed(unit === "bytes" ? 0 : 1)} ${unit}`;
    bytes /= 1024;
  }
}

function span(seconds) {
  for (const [limit, unit, name] of [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"]])
    if (seconds < limit) return `${Math.round(seconds / unit)} ${name}`;
  return `${Math.round(seconds / 86400)} days`;
}

function facts(item) {
  const list = element("dl");
  const add = (name, value, kind) =>
    list.append(element("dt", {}, name), element("dd", kind ? { class: kind } : {}, value));
  add("State", `${item.state}, ${item.recovery_model}, ${size(item.size)}`);
  for (const kind of ["full", "differential", "log"]) {
    const found = item.last[kind];
    if (found) add(`Last ${kind}`, `${found.finished.replace("T", " ")}, ${span(found.seconds_ago)} ago, ${found.devices.join(", ")}`);
  }
  if (!Object.keys(item.last).length) add("Backups", "There is none.", "broken");
  if (item.chain === "broken") add("Log chain", `broken: ${item.chain_reason}`, "broken");
  else if (item.capture_lag !== null) add("Log", `${item.chain}, captured to ${item.capture_lag.toFixed(1)} s ago`);
  if (item.at_risk !== null) add("Not backed up", item.at_risk ? `the last ${span(item.at_risk)}` : "nothing");
  return list;
}

class Timeline {
  constructor(item, all) {
    this.name = item.name;
    this.ranges = item.ranges.map((edge) => [at(edge.from), at(edge.to), edge]);
    this.backups = all.backups.filter((set) => set.database === item.name && set.finished);
    this.trials = all.trials.filter((trial) => trial.database === item.name);
    this.end = at(all.time + ".000");
    const begins = [...this.ranges.map((edge) => edge[0]), ...this.backups.map((set) => at(set.finished + ".000"))];
    const wanted = Number($("span").value) * 1000;
    this.begin = wanted ? this.end - wanted : Math.min(this.end - 60000, ...begins);
    this.end = Math.max(this.end, ...this.ranges.map((edge) => edge[1]));
    this.output = element("div", { "aria-live": "polite" });
    this.line = element("div", {
      class: "line", tabindex: "0", role: "slider", "aria-label": `Moment to restore ${item.name} to`,
      "aria-valuemin": "0", "aria-valuemax": "1000", "data-database": item.name,
    });
    this.moment = chosen.get(this.name)?.moment ?? null;
    this.draw();
    this.line.addEventListener("click", (event) => {
      const box = this.line.getBoundingClientRect();
      this.choose(this.begin + ((event.clientX - box.left) / box.width) * (this.end - this.begin), true);
    });
    this.line.addEventListener("keydown", (event) => this.key(event));
    const before = chosen.get(this.name);
    if (before?.script) this.show(before.script);
  }

  x(ms) {
    return ((ms - this.begin) / (this.end - this.begin)) * WIDTH;
  }

  draw() {
    const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} 64`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const inside = (ms) => ms >= this.begin && ms <= this.end;
    picture.append(drawn("path", { class: "axis", d: `M0 ${TOP + 24}H${WIDTH}` }));
    for (const [from, to, edge] of this.ranges) {
      const left = Math.max(0, this.x(from)), right = Math.min(WIDTH, this.x(to));
      if (right < 0 || left > WIDTH) continue;
      picture.append(drawn("rect", { class: "range", x: left, y: TOP + 18, width: Math.max(2, right - left), height: 12 },
        `${edge.from} to ${edge.to}, ${edge.through}`));
    }
    for (const set of this.backups) {
      const ms = at(set.finished + ".000"), x = this.x(ms);
      if (!inside(ms)) continue;
      const told = `${set.type} ${short(ms)}, ${size(set.compressed_size)}`;
      if (set.type === "log") picture.append(drawn("path", { class: "log", d: `M${x} ${TOP + 8}v8` }, told));
      else picture.append(drawn("rect", { class: set.type === "full" ? "full" : "differential", x: x - 4, y: TOP, width: 8, height: 14 }, told));
    }
    for (const trial of this.trials) {
      if (!trial.stop_at) continue;
      const ms = at(trial.stop_at + ".000");
      if (inside(ms)) picture.append(drawn("circle", { class: trial.succeeded ? "trial" : "failed", cx: this.x(ms), cy: TOP + 38, r: 4 },
        `trial restore to ${short(ms)}: ${trial.message}`));
    }
    if (this.moment !== null && inside(this.moment))
      picture.append(drawn("path", { class: "cursor", d: `M${this.x(this.moment)} 4V60` }));
    const labels = element("div", { class: "help" }, `${short(this.begin)} to ${short(this.end)}`);
    this.line.replaceChildren(picture, labels);
    this.line.setAttribute("aria-valuenow", String(Math.round(this.moment === null ? WIDTH : this.x(this.moment))));
    this.line.setAttribute("aria-valuetext", this.moment === null ? "none" : short(this.moment));
  }

  key(event) {
    const step = ((this.end - this.begin) / 100) * (event.shiftKey ? 0.1 : 1);
    const now = this.moment ?? this.end;
    const to = { ArrowLeft: now - step, ArrowDown: now - step, ArrowRight: now + step, ArrowUp: now + step,
      Home: this.begin, End: this.end }[event.key];
    if (to !== undefined) this.choose(to, false);
    else if (event.key === "Enter" || event.key === " ") this.choose(now, true);
    else return;
    event.preventDefault();
  }

  choose(ms, ask) {
    this.moment = Math.round(Math.min(this.end, Math.max(this.begin, ms)));
    chosen.set(this.name, { moment: this.moment });
    this.draw();
    if (ask) this.ask();
    else this.output.replaceChildren(element("p", {}, `${short(this.moment)}: Enter shows the script.`));
  }

  async ask() {
    const moment = this.moment;
    if (!this.ranges.some(([from, to]) => moment >= from && moment <= to)) {
      this.output.replaceChildren(element("p", { class: "error" }, `Nothing leads to ${short(moment)}.`));
      return;
    }
    const answer = await fetch(`/script?database=${encodeURIComponent(this.name)}&moment=${encodeURIComponent(shown(moment))}`);
    const text = await answer.text();
    if (!answer.ok) {
      this.output.replaceChildren(element("p", { class: "error" }, text));
      return;
    }
    chosen.set(this.name, { moment, script: text });
    this.show(text);
  }

  show(text) {
    const copy = element("button", { type: "button" }, "Copy the script");
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    });
    this.output.replaceChildren(element("pre", { tabindex: "0", "aria-label": "Script of the restore" }, text), copy);
  }
}

function list(id, items, none) {
  $(id).replaceChildren(...(items.length ? items : [element("li", {}, none)]));
}

function show(all, findings) {
  $("server").textContent = all.server;
  $("time").textContent = all.time.replace("T", " ");
  list("wrong", findings.filter((item) => item.level !== "ok").map((item) =>
    element("li", { class: item.level }, `${item.subject}: ${item.text} `, element("code", {}, item.remedy || ""))), "Nothing.");
  list("running", [
    ...all.running.map((run) => element("li", {}, `${run.command} ${run.database}: ${Math.round(run.percent)} %`)),
    ...all.jobs.slice(0, 5).map((job) => element("li", {}, `${job.next_run.replace("T", " ")} ${job.name}`)),
  ], "Nothing runs, and no job is due.");
  const focused = document.activeElement?.dataset?.database;
  $("databases").replaceChildren(...all.databases.map((item) => {
    const timeline = new Timeline(item, all);
    return element("article", {}, element("h3", {}, item.name), facts(item), timeline.line, timeline.output);
  }));
  if (!all.databases.length) $("databases").textContent = "There are no databases.";
  if (focused) document.querySelector(`[data-database="${CSS.escape(focused)}"]`)?.focus();
}

async function refresh() {
  try {
    const answers = await Promise.all([fetch("/status.json"), fetch("/doctor.json")]);
    if (answers.some((answer) => !answer.ok)) throw new Error("the server does not answer");
    const [all, doctor] = await Promise.all(answers.map((answer) => answer.json()));
    last = [all, doctor.findings];
    if (!$("databases").contains(document.activeElement) || document.activeElement.dataset.database) show(...last);
    $("state").textContent = "";
  } catch (error) {
    $("state").textContent = `No news: ${error.message}.`;
  }
  setTimeout(refresh, EVERY);
}

$("span").addEventListener("change", () => last && show(...last));
refresh();
