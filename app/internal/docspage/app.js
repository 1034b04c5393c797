// The page draws itself from openapi.json and sends requests to the service
// that served it. Tokens live in this page's memory alone and go with it.
"use strict";

const $ = (id) => document.getElementById(id);

// make builds an element: attributes, then children, which are text or elements.
function make(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

// prose renders the little Markdown that descriptions use.
function prose(text) {
  return (text || "").split("\n\n").filter(Boolean).map((paragraph) => make("p", {}, ...words(paragraph)));
}
function words(text) {
  return text.split(/(`[^`]+`|\*[^*]+\*)/).filter(Boolean).map((part) => {
    if (part.startsWith("`")) return make("code", {}, part.slice(1, -1));
    if (part.startsWith("*") && part.length > 2) return make("em", {}, part.slice(1, -1));
    return part;
  });
}

let spec;
const state = { access: "", email: "", refresh: "", ids: {} };

// resolve follows a reference, keeping what stands beside it.
function resolve(schema) {
  if (!schema) return {};
  if (schema.anyOf) return { ...resolve(schema.anyOf.find((s) => s.type !== "null")), ...schema };
  if (!schema.$ref) return schema;
  const target = schema.$ref.split("/").slice(1).reduce((node, key) => node[key], spec);
  return { ...target, ...schema, properties: { ...target.properties, ...schema.properties } };
}

function typeName(schema) {
  const s = resolve(schema);
  const type = Array.isArray(s.type) ? s.type.join(" or ") : s.type || (s.const !== undefined ? typeof s.const : s.enum ? "string" : "any");
  if (type === "array") return "list of " + typeName(s.items);
  return s.format ? `${type} (${s.format})` : type;
}

function limits(s) {
  const parts = [];
  if (s.enum) parts.push("one of " + s.enum.join(", "));
  if (s.const !== undefined) parts.push("always " + JSON.stringify(s.const));
  if (s.minLength) parts.push(`at least ${s.minLength} characters`);
  if (s.maxLength) parts.push(`at most ${s.maxLength} characters`);
  return parts.join("; ");
}

const sentence = (text) => text[0].toUpperCase() + text.slice(1) + ".";

// members lists those of an object, and below each those of its own.
function members(schema, depth) {
  const s = resolve(schema);
  const required = new Set(s.required || []);
  const asks = s.additionalProperties === false; // requests: say what is needed
  return make("dl", {}, ...Object.entries(s.properties || {}).map(([name, member]) => {
    const m = resolve(member);
    const inner = m.properties ? m : m.items && resolve(m.items).properties ? resolve(m.items) : null;
    return make("div", { class: "field" },
      make("dt", {}, name, make("span", {}, typeName(member)), asks && required.has(name) ? make("span", { class: "needed" }, "required") : null),
      make("dd", {}, ...words(m.description || ""), ...(limits(m) ? [m.description ? " " : "", sentence(limits(m))] : [])),
      inner && depth < 4 ? make("details", {}, make("summary", {}, "members"), members(inner, depth + 1)) : null);
  }));
}

function example(schema) {
  const s = resolve(schema);
  if (s.examples) return s.examples[0];
  if (s.const !== undefined) return s.const;
  if (s.enum) return s.enum[0];
  if (s.properties) {
    const out = {};
    for (const [name, member] of Object.entries(s.properties)) {
      const m = resolve(member);
      if ((s.required || []).includes(name) || m.examples) out[name] = example(member);
    }
    return out;
  }
  return { string: "", integer: 0, number: 0, boolean: false, array: [], object: {} }[s.type] ?? null;
}

// paint colours JSON without making HTML of it.
function paint(text) {
  const nodes = [];
  const token = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null)/g;
  let from = 0;
  for (const found of text.matchAll(token)) {
    nodes.push(text.slice(from, found.index));
    const kind = found[2] ? "key" : found[1] ? "string" : found[3] ? "number" : "word";
    nodes.push(make("span", { class: kind }, found[1] || found[0]), found[2] || "");
    from = found.index + found[0].length;
  }
  nodes.push(text.slice(from));
  return nodes;
}

function identity() {
  const box = $("identity");
  box.classList.toggle("in", !!state.access);
  box.replaceChildren(...(state.access
    ? [make("b", { title: state.email }, state.email || "signed in"), make("button", { class: "plain", type: "button", onclick: forget }, "Forget")]
    : [make("span", {}, "Not signed in")]));
}
function forget() {
  Object.assign(state, { access: "", email: "", refresh: "", ids: {} });
  identity();
}

// learn keeps what later requests need: tokens, and the ids of what was made.
function learn(operation, data) {
  if (!data || typeof data !== "object") return;
  if (data.tokens) {
    state.access = data.tokens.access_token || state.access;
    state.refresh = data.tokens.refresh_token || state.refresh;
  }
  if (data.user && data.user.email) state.email = data.user.email;
  if (data.signed_out) forget();
  if (typeof data.id === "string") {
    state.ids[operation.collection] = data.id;
    for (const fill of document.querySelectorAll("input[data-id]")) {
      if (fill.dataset.id === operation.collection && !fill.value) fill.value = data.id;
    }
  }
  for (const area of document.querySelectorAll("textarea[data-refresh]")) {
    try {
      const body = JSON.parse(area.value);
      if (state.refresh && "refresh_token" in body) area.value = JSON.stringify({ ...body, refresh_token: state.refresh }, null, 2);
    } catch { /* being edited: leave it */ }
  }
  identity();
}

async function send(operation, form, reply, button) {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const p of operation.parameters || []) {
    const value = form.elements.namedItem(p.in + ":" + p.name).value.trim();
    if (p.in === "path") path = path.replace("{" + p.name + "}", encodeURIComponent(value));
    else if (value && p.in === "query") query.set(p.name, value);
    else if (value) headers[p.name] = value;
  }
  const area = form.elements.namedItem("body");
  if (area && area.value.trim()) headers["Content-Type"] = "application/json";
  if (operation.security.length && state.access) headers.Authorization = "Bearer " + state.access;
  const url = spec.servers[0].url + path + (query.size ? "?" + query : "");
  button.disabled = true;
  const begin = performance.now();
  try {
    const response = await fetch(url, {
      method: operation.method, headers, body: area && area.value.trim() ? area.value : undefined, credentials: "omit", cache: "no-store",
    });
    const text = await response.text();
    const took = Math.round(performance.now() - begin);
    let pretty = text;
    try {
      const body = JSON.parse(text);
      pretty = JSON.stringify(body, null, 2);
      if (body.success) learn(operation, body.data);
    } catch { /* not JSON: shown as it came */ }
    show(reply, response.ok, `${response.status} ${response.statusText}`.trim(), `${took} ms`, pretty, response.headers.get("X-Request-Id"));
  } catch (problem) {
    show(reply, false, "No answer", "", String(problem.message || problem), "");
  } finally {
    button.disabled = false;
  }
}

function show(reply, good, status, took, text, id) {
  reply.replaceChildren(
    make("div", { class: "status" }, make("b", { class: good ? "good" : "" }, status), make("span", {}, took), id ? make("span", {}, "request " + id) : null),
    make("pre", { class: "code", tabindex: "0" }, ...paint(text)));
}

function tryIt(operation) {
  const schema = operation.requestBody && operation.requestBody.content["application/json"].schema;
  const reply = make("div", { class: "reply", "aria-live": "polite" });
  const button = make("button", { type: "submit" }, "Send");
  const body = schema ? JSON.stringify(example(schema), null, 2) : "";
  const form = make("form", { onsubmit: (event) => { event.preventDefault(); send(operation, form, reply, button); } },
    make("h4", {}, "Try it"),
    ...(operation.parameters || []).map((p) => make("label", {}, make("span", {}, p.name), p.in,
      make("input", { name: p.in + ":" + p.name, required: p.in === "path", autocomplete: "off", spellcheck: "false", "data-id": p.in === "path" ? operation.collection : null }))),
    schema ? make("label", {}, make("span", {}, "body"), "JSON",
      make("textarea", {
        name: "body", rows: Math.min(Math.max(body.split("\n").length, 3), 14), spellcheck: "false", autocomplete: "off",
        "data-refresh": operation.operationId === "refresh",
        onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); },
      }, body)) : null,
    make("div", { class: "actions" }, button, schema ? make("small", {}, "or Ctrl + Enter") : null),
    reply);
  return make("div", { class: "try" }, form);
}

function section(operation) {
  const schema = operation.requestBody && operation.requestBody.content["application/json"].schema;
  const success = Object.entries(operation.responses).find(([status]) => status < "400");
  const body = success && resolve(success[1].content["application/json"].schema);
  const data = body && (body.properties.data || body); // or a body without the envelope
  const inside = data && resolve(resolve(data).type === "array" ? resolve(data).items : data);
  return make("article", { class: "operation", id: operation.operationId, "aria-labelledby": operation.operationId + "-name" },
    make("div", {},
      make("h3", { id: operation.operationId + "-name" }, operation.summary),
      make("p", { class: "route" }, make("span", { class: "method " + operation.method }, operation.method), spec.servers[0].url + operation.path,
        operation.security.length ? make("span", { class: "lock" }, "signed in") : null),
      ...prose(operation.description),
      (operation.parameters || []).length ? make("h4", {}, "Parameters") : null,
      (operation.parameters || []).length ? make("dl", {}, ...operation.parameters.map((p) => make("div", { class: "field" },
        make("dt", {}, p.name, make("span", {}, `${p.in}, ${typeName(p.schema)}`), p.required ? make("span", { class: "needed" }, "required") : null),
        make("dd", {}, ...words(p.description || ""))))) : null,
      schema ? make("h4", {}, "Body") : null,
      schema ? members(schema, 0) : null,
      inside && inside.properties ? make("h4", {}, resolve(data).type === "array" ? "Answer: a list of" : "Answer") : null,
      inside && inside.properties ? members(inside, 0) : null,
      make("h4", {}, "Statuses"),
      make("ul", { class: "answers" }, ...Object.entries(operation.responses).map(([status, answer]) => {
        const [meaning, codes] = answer.description.split(": ");
        return make("li", {}, make("b", { class: status >= "400" ? "failure" : "" }, status), meaning,
          codes ? make("span", {}, ...codes.split(", ").map((code) => [make("code", {}, code), " "]).flat()) : null);
      }))),
    tryIt(operation));
}

// collectionOf names what a path's ids are of: /sessions/{id} and /sessions share one.
const collectionOf = (path) => path.split("/{")[0];

function draw() {
  document.title = spec.info.title + " API";
  $("title").textContent = spec.info.title + " API";
  const operations = Object.entries(spec.paths).flatMap(([path, methods]) => Object.entries(methods)
    .map(([method, operation]) => ({ ...operation, path, method: method.toUpperCase(), collection: collectionOf(path) })));
  operations.sort((a, b) => a["x-order"] - b["x-order"]); // the document's own order is that of the alphabet
  const collections = [...new Set(operations.map((operation) => operation.collection))];
  const order = ["POST", "GET", "PATCH", "PUT", "DELETE"];
  const main = $("main");
  main.replaceChildren(make("h1", {}, spec.info.title + " API"), make("div", { class: "intro" }, ...prose(spec.info.description),
    make("p", {}, "The description itself: ", make("a", { href: "openapi.json" }, "openapi.json"), ".")));
  for (const tag of spec.tags) {
    const mine = operations.filter((operation) => operation.tags.includes(tag.name))
      .sort((a, b) => collections.indexOf(a.collection) - collections.indexOf(b.collection) || a.path.length - b.path.length || order.indexOf(a.method) - order.indexOf(b.method));
    $("nav").append(make("h2", {}, tag.name), make("ul", {}, ...mine.map((operation) => make("li", { "data-for": operation.operationId },
      make("a", { href: "#" + operation.operationId }, make("span", { class: "method " + operation.method }, operation.method), operation.summary)))));
    main.append(make("section", {}, make("h2", {}, tag.name), make("p", {}, tag.description), ...mine.map(section)));
  }
  identity();
  follow();
  if (location.hash) document.querySelector(CSS.escape ? "#" + CSS.escape(location.hash.slice(1)) : location.hash)?.scrollIntoView();
}

// follow marks in the navigation what is being read.
function follow() {
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of document.querySelectorAll("nav a")) {
        if (link.hash === "#" + entry.target.id) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }
  }, { rootMargin: "-80px 0px -70% 0px" });
  for (const article of document.querySelectorAll("article")) watcher.observe(article);
}

$("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const article of document.querySelectorAll("article")) {
    const hit = article.querySelector("h3").textContent.toLowerCase().includes(wanted) || article.querySelector(".route").textContent.toLowerCase().includes(wanted);
    article.hidden = !hit;
    document.querySelector(`li[data-for="${article.id}"]`).hidden = !hit;
  }
  for (const group of document.querySelectorAll("main > section")) group.hidden = !group.querySelector("article:not([hidden])");
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea")) {
    event.preventDefault();
    $("filter").focus();
  } else if (event.key === "Escape" && event.target === $("filter")) {
    event.target.value = "";
    event.target.dispatchEvent(new Event("input"));
    event.target.blur();
  }
});

fetch("openapi.json", { credentials: "omit" })
  .then((response) => { if (!response.ok) throw new Error("the service answered " + response.status); return response.json(); })
  .then((document) => { spec = document; draw(); })
  .catch((problem) => { $("state").textContent = "The description did not load: " + problem.message; });
