// The page draws itself anew from each snapshot that the console sends.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

// make builds an element: attributes, then children, which are text or elements.
function make(name, attributes, ...children) {
  const svg = ["svg", "path", "rect", "title"].includes(name);
  const node = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child != null && child !== ""));
  return node;
}

const none = (text) => make("p", { class: "none" }, text);
const percent = (part, digits = 0) => (100 * part).toFixed(digits) + " %";
const milliseconds = (s) => (s * 1000).toFixed(0) + " ms";

function duration(seconds) {
  if (seconds < 90) return seconds.toFixed(seconds < 10 ? 1 : 0) + " s";
  if (seconds < 5400) return (seconds / 60).toFixed(0) + " min";
  if (seconds < 129600) return (seconds / 3600).toFixed(0) + " h";
  return (seconds / 86400).toFixed(0) + " d";
}
const never = (time) => !time || time.startsWith("0001-");
const since = (time, now) => duration(Math.max(0, (Date.parse(now) - Date.parse(time)) / 1000)) + " ago";
function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return n.toFixed(i && n < 10 ? 1 : 0) + " " + units[i];
}

const tones = { healthy: "good", degraded: "warn", unknown: "warn", down: "bad", succeeded: "good", begun: "warn", failed: "bad", interrupted: "warn" };
const badge = (word) => make("span", { class: "state " + (tones[word] || "") }, word);

function table(heads, rows) {
  return make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", { scope: "col", class: h.class }, h.text)))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell, i) => make("td", { class: heads[i].class }, cell))))));
}

// split draws two shares of a bar; a style attribute is what the policy forbids.
function split(slots) {
  let x = 0;
  const bars = slots.map((slot, i) => {
    const bar = make("rect", { x, y: 0, width: slot.weight, height: 10, class: "bar " + (i ? "canary" : "stable") }, make("title", {}, `${slot.name}: ${slot.weight} %`));
    x += slot.weight;
    return bar;
  });
  return make("div", { class: "split" }, make("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": slots.map((s) => `${s.name} ${s.weight} %`).join(", ") }, ...bars));
}

function environment(e) {
  const slots = e.slots || [];
  return make("div", { class: "card", "data-environment": e.name },
    make("h3", {}, e.name, badge(e.health)),
    e.url ? make("p", {}, make("code", {}, e.url)) : null,
    e.detail ? make("p", {}, e.detail) : null,
    slots.length ? split(slots) : null,
    slots.length ? table([{ text: "slot" }, { text: "weight", class: "number" }, { text: "seen", class: "number" }, { text: "pods", class: "number" }],
      slots.map((s) => [s.name, s.weight + " %", s.share === null ? "–" : percent(s.share, 1), `${s.ready} of ${s.desired}`])) : null);
}

// plot draws a figure of both slots over the same axes.
function plot(title, rollout, value, text) {
  const all = [...(rollout.stable.points || []), ...(rollout.canary.points || [])];
  const caption = make("figcaption", {}, make("b", {}, title));
  if (all.length === 0) return make("figure", {}, caption, none("Nothing measured yet."));
  const times = all.map((p) => Date.parse(p.at));
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const top = Math.max(...all.map(value)) || 1;
  const svg = make("svg", { class: "plot", viewBox: "0 0 300 130", preserveAspectRatio: "none", role: "img", "aria-label": title });
  for (const name of ["stable", "canary"]) {
    const points = rollout[name].points || [];
    if (points.length === 0) continue;
    const place = (p) => `${((Date.parse(p.at) - from) / (to - from || 1) * 292 + 4).toFixed(1)} ${(124 - value(p) / top * 116).toFixed(1)}`;
    const last = points[points.length - 1];
    svg.append(make("path", { class: name, d: "M" + points.map(place).join("L") + (points.length === 1 ? "h1" : "") }, make("title", {}, name)));
    caption.append(make("span", { class: name }, `${rollout[name].slot} (${name}) ${text(value(last))}`));
  }
  return make("figure", {}, caption, svg);
}

function rollout(r, now) {
  if (!r) return [none("No release has been rolled out yet.")];
  return [make("div", { class: "card" },
    make("h3", {}, r.version, badge(r.state)),
    make("ol", { class: "stages" }, ...(r.stages || []).map((s) => make("li", { class: s.state, "aria-current": s.state === "now" ? "step" : null }, s.name))),
    r.waiting ? make("p", {}, r.waiting + (never(r.until) ? "" : `, until ${new Date(r.until).toLocaleString()}`)) : null,
    r.attention ? make("p", { class: "attention", role: "status" }, r.attention) : null,
    make("div", { class: "plots" },
      plot("Errors", r, (p) => p.error_rate, (v) => percent(v, 2)),
      plot("Latency, 99th percentile", r, (p) => p.p99, milliseconds),
      plot("Requests a second", r, (p) => p.requests, (v) => v.toFixed(1))))];
}

// retirement is that of API v2; most environments have none.
const retirement = (r) => r
  ? [make("div", { class: "card", id: "legacy" }, make("h3", {}, "API v2 " + r.text, badge(r.state)),
    r.waiting ? make("p", {}, r.waiting + (never(r.until) ? "" : `, until ${new Date(r.until).toLocaleString()}`)) : null,
    r.attention ? make("p", { class: "attention", role: "status" }, r.attention) : null)]
  : [];

function recovery(s) {
  const proven = s.proven
    ? make("div", { class: "card" }, make("h3", {}, "Last proven restore", badge(s.proven.ok ? "succeeded" : "failed")),
      make("p", {}, `${since(s.proven.at, s.at)}, of ${s.proven.backup}: ${s.proven.rpo === null ? "how much was lost is not known" : `${duration(s.proven.rpo)} of writes lost at most`}, back after ${duration(s.proven.rto)}.`))
    : make("div", { class: "card" }, make("h3", {}, "Last proven restore"), none("None yet: a drill proves one."));
  const backups = s.backups || [];
  return [make("div", { class: "pair" }, proven, make("div", { class: "card" }, make("h3", {}, "Backups"),
    backups.length ? table([{ text: "backup" }, { text: "age" }, { text: "records", class: "number" }, { text: "size", class: "number" }],
      backups.slice(0, 5).map((b) => [make("code", {}, b.id), since(b.at, s.at), b.bytes ? b.records.toLocaleString("en") : "–", b.bytes ? bytes(b.bytes) : "–"])) : none("There is no backup.")))];
}

const operations = (s) => (s.operations || []).length
  ? [make("div", { class: "card" }, table([{ text: "when" }, { text: "who", class: "wide" }, { text: "command" }, { text: "outcome" }, { text: "took", class: "number wide" }],
    s.operations.map((o) => [since(o.at, s.at), o.actor, make("code", {}, `${o.command} --env ${o.environment}`),
      make("span", { title: o.detail || null }, badge(o.outcome)), o.seconds ? duration(o.seconds) : "–"])))]
  : [none("Nothing has been done from this checkout yet.")];

function run(s) {
  if (!s.run) return [];
  const action = (s.actions || []).find((a) => a.id === s.run.action);
  const state = s.run.running ? "begun" : s.run.failure ? "failed" : "succeeded";
  return [make("div", { class: "card", id: "last-run" }, make("h3", {}, action ? action.title : s.run.action, badge(s.run.running ? "running" : state)),
    s.run.failure ? make("p", {}, s.run.failure) : null, s.run.output ? make("pre", {}, s.run.output) : null)];
}

// put replaces what a place shows, where that has changed: a selection elsewhere lasts.
const shown = new Map();
function put(id, source, draw) {
  const key = JSON.stringify(source);
  if (shown.get(id) === key) return;
  shown.set(id, key);
  $(id).replaceChildren(...draw());
}

function draw(s) {
  $("environment").textContent = s.environment;
  document.title = `Coditect console: ${s.environment}`;
  $("unread").hidden = !s.unread;
  $("unread").textContent = s.unread ? "Could not be read:\n" + s.unread.join("\n") : "";
  put("environments", s.environments, () => (s.environments || []).map(environment));
  put("rollout", s.rollout, () => rollout(s.rollout, s.at));
  put("retirement", s.retirement, () => retirement(s.retirement));
  $("recovery").replaceChildren(...recovery(s));
  put("actions", [s.actions, s.run && s.run.running], () => (s.actions || []).map((a) =>
    make("button", { type: "button", id: "do-" + a.id, class: a.danger ? "danger" : null, disabled: Boolean(s.run && s.run.running), onclick: () => ask(s.environment, a) }, a.title)));
  put("run", s.run, () => run(s));
  $("operations").replaceChildren(...operations(s));
}

// ask shows what an action will do, and does it when the environment has been named.
function ask(environment, action) {
  const dialog = $("confirm");
  $("confirm-title").textContent = action.title;
  $("consequence").textContent = action.consequence;
  $("command").textContent = ["coditect", ...action.command.slice(1)].join(" ");
  $("name").textContent = environment;
  $("typed").value = "";
  $("go").disabled = true;
  $("go").className = action.danger ? "danger" : "";
  $("refusal").hidden = true;
  $("typed").oninput = () => { $("go").disabled = $("typed").value !== environment; };
  $("go").onclick = async (event) => {
    event.preventDefault();
    $("go").disabled = true;
    try {
      const answer = await fetch("actions/" + encodeURIComponent(action.id), {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ confirm: $("typed").value }),
      });
      if (answer.ok) return dialog.close();
      $("refusal").textContent = await answer.text();
    } catch {
      $("refusal").textContent = "The console does not answer: start it again.";
    }
    $("refusal").hidden = false;
    $("go").disabled = false;
  };
  dialog.showModal();
  $("typed").focus();
}

const live = (state, text) => { $("live").className = state; $("live").textContent = text; };
const events = new EventSource("events");
events.onmessage = (event) => {
  const s = JSON.parse(event.data);
  live("on", "live, " + new Date(s.at).toLocaleTimeString());
  draw(s);
};
events.onerror = () => live("off", "not connected; trying again");
