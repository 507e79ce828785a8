"use strict";
// Events hold what strangers sent: everything is written as text, nothing as markup.
const $ = id => document.getElementById(id);
const el = (tag, props = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false).map(child => child instanceof Node ? child : String(child)));
  return node;
};

const TABS = [["transaction", "Transactions"], ["error", "Errors"], ["log", "Logs"], ["metricset", "Metrics"]];
const LIST_LIMIT = 200, TRACE_LIMIT = 3000;
const state = { tab: "transaction", search: "", version: -1, seen: null, open: null, focus: null, trace: [] };

let token = sessionStorage.getItem("apm-token"), asked = false;
async function call(path, options = {}) {
  const headers = token ? { authorization: "Bearer " + token } : {};
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401 && !asked) {
    asked = true;
    token = prompt("This server wants its secret token") || "";
    sessionStorage.setItem("apm-token", token);
  }
  if (!response.ok) throw new Error(path + ": " + response.status);
  return response.status === 204 ? null : response.json();
}

// ---- reading events ----
const object = value => value && typeof value === "object" ? value : {};
const context = item => object(item.event.context);
const labels = item => object(context(item).tags);
const serviceOf = item => object(context(item).service).name || object(item.metadata.service).name || "";
const userOf = item => { const user = { ...object(item.metadata.user), ...object(context(item).user) }; return user.username || user.email || user.id || userLabel(item); };
// OTLP has no users: this crate sends them as labels
const userLabel = item => item.protocol === "intake" ? "" : labels(item).user_name || labels(item).user_email || labels(item).user_id || "";
const ecs = item => object(item.event.ecs);
const idOf = item => item.type + "/" + (item.event.id || item.received_at);
// microseconds since the epoch
const startOf = item => {
  const time = item.event.timestamp ?? item.event["@timestamp"];
  if (typeof time === "number") return time;
  const read = Date.parse(time);
  return Number.isNaN(read) ? Date.parse(item.received_at) * 1000 - (item.event.duration || 0) * 1000 : read * 1000;
};
const exceptionOf = item => object(item.event.exception);
const messageOf = item => exceptionOf(item).message || object(item.event.log).message || item.event.message || "";
const outcomeClass = event => event.outcome === "failure" ? "bad" : /4xx/.test(event.result) ? "warn" : event.outcome === "success" ? "good" : "dim";
const ms = value => typeof value !== "number" ? "" : value >= 10000 ? (value / 1000).toFixed(1) + " s" : value >= 100 ? value.toFixed(0) + " ms"
  : value >= 1 ? value.toFixed(1) + " ms" : (value * 1000).toFixed(0) + " µs";
const clock = micros => { const date = new Date(micros / 1000); return date.toLocaleTimeString([], { hour12: false }) + "." + String(date.getMilliseconds()).padStart(3, "0"); };
const colour = item => "t-" + (item.type === "transaction" ? "transaction" : String(item.event.type || "").split(".")[0].replace(/[^a-z]/g, ""));

// ---- the list ----
const cell = (content, css = "", title) => el("td", { class: css, title: title ?? (typeof content === "string" ? content : null) }, content ?? "");
const COLUMNS = {
  transaction: [["Time"], ["Service", "wide"], ["Transaction"], ["Result"], ["Duration", "num"], ["User"], ["Module", "wide"]],
  error: [["Time"], ["Service", "wide"], ["Type"], ["Message"], ["Handled", "wide"], ["Transaction", "wide"], ["User"]],
  log: [["Time"], ["Service", "wide"], ["Level"], ["Message"], ["Trace", "wide"]],
  metricset: [["Time"], ["Service", "wide"], ["Samples"], ["Of", "wide"]],
};
const ROWS = {
  transaction: item => [
    cell(clock(startOf(item)), "dim mono"), cell(serviceOf(item), "wide"), cell(item.event.name || item.event.type, "strong"),
    cell(item.event.result || item.event.outcome || "", outcomeClass(item.event)), cell(ms(item.event.duration), "num"),
    cell(userOf(item)), cell(labels(item).module ? el("span", { class: "tag" }, labels(item).module) : "", "wide"),
  ],
  error: item => [
    cell(clock(startOf(item)), "dim mono"), cell(serviceOf(item), "wide"), cell(exceptionOf(item).type || "log", "strong bad"), cell(messageOf(item)),
    cell(exceptionOf(item).handled === false ? "no" : "yes", exceptionOf(item).handled === false ? "wide warn" : "wide dim"),
    cell(object(item.event.transaction).name || item.event.culprit || "", "wide"), cell(userOf(item)),
  ],
  log: item => [
    cell(clock(startOf(item)), "dim mono"), cell(serviceOf(item), "wide"), cell(item.event["log.level"] || object(item.event.log).level || "", "strong"),
    cell(messageOf(item)), cell(item.event["trace.id"] || "", "wide mono dim"),
  ],
  metricset: item => [
    cell(clock(startOf(item)), "dim mono"), cell(serviceOf(item), "wide"),
    cell(Object.entries(object(item.event.samples)).map(([name, sample]) => name + (object(sample).value === undefined ? "" : " = " + sample.value)).join(", "), "mono"),
    cell(object(item.event.transaction).name || "", "wide"),
  ],
};

function showList(events, total) {
  const list = $("list"), top = list.scrollTop;
  if (!events.length) {
    list.replaceChildren(el("div", { class: "empty" },
      state.search ? el("p", {}, "Nothing holds “" + state.search + "”.") : [el("p", { class: "strong" }, "Nothing here yet."), el("p", {}, "Point an agent at ", el("code", {}, location.origin), " and send a request.")]));
    return;
  }
  const fresh = new Set(events.map(idOf));
  const body = el("tbody", {}, events.map(item => {
    const id = idOf(item), open = () => show(item);
    const row = el("tr", { tabindex: 0, "data-id": id, onclick: open, onkeydown: event => event.key === "Enter" && open(), "aria-selected": String(state.open === id) }, ROWS[state.tab](item));
    if (state.seen && !state.seen.has(id)) row.className = "fresh";
    return row;
  }));
  const head = el("thead", {}, el("tr", {}, COLUMNS[state.tab].map(([name, css]) => el("th", { class: css || "" }, name))));
  const more = total > events.length ? el("div", { class: "empty" }, "The newest " + events.length + " of " + total + ". Search finds the others.") : "";
  list.replaceChildren(el("table", {}, head, body), more);
  list.scrollTop = top;
  state.seen = fresh;
}

async function refresh(force) {
  try {
    const stats = await call("/api/stats");
    $("live").className = "dot";
    if (!force && stats.version === state.version) return;
    const query = new URLSearchParams({ type: state.tab, limit: LIST_LIMIT, q: state.search });
    const { tab, search } = state, page = await call("/api/events?" + query);
    if (tab !== state.tab || search !== state.search) return;
    state.version = stats.version;
    showStats(stats);
    showList(page.events, page.total);
  } catch (error) {
    $("live").className = "dot off";
    $("live").title = String(error);
  }
}

function showStats(stats) {
  const rejected = Object.values(stats.rejected).reduce((sum, count) => sum + count, stats.unrecognized);
  $("stats").replaceChildren(stats.held + " held", rejected ? " · " : "", rejected ? el("b", { title: stats.last_rejection || "" }, rejected + " rejected") : "", stats.evicted ? " · " + stats.evicted + " evicted" : "");
  for (const button of $("tabs").children) button.querySelector(".count").textContent = stats.held_by_type[button.dataset.tab] || "";
}

// ---- one event and its trace ----
async function show(item) {
  state.open = idOf(item);
  state.focus = item;
  document.body.classList.add("split");
  for (const row of document.querySelectorAll("#list tbody tr")) row.setAttribute("aria-selected", String(row.dataset.id === state.open));
  const trace = item.event.trace_id || item.event["trace.id"];
  state.trace = trace ? (await call("/api/events?" + new URLSearchParams({ trace_id: trace, limit: TRACE_LIMIT }))).events : [item];
  showDetail();
  $("detail").scrollTop = 0;
}

function hide() {
  state.open = state.focus = null;
  document.body.classList.remove("split");
  $("detail").hidden = true;
  for (const row of document.querySelectorAll("#list tbody tr")) row.setAttribute("aria-selected", "false");
}

const fact = (name, value, css = "") => value === undefined || value === null || value === "" ? null : el("span", {}, name + " ", el("b", { class: css }, value));

function showDetail() {
  const item = state.focus, event = item.event, detail = $("detail");
  const title = event.name || exceptionOf(item).type || messageOf(item) || item.type;
  const errors = state.trace.filter(other => other.type === "error");
  const own = item.type === "error" ? [item] : errors.filter(error => item.type === "transaction" ? error.event.transaction_id === event.id || error.event.parent_id === event.id : error.event.parent_id === event.id);
  detail.replaceChildren(...[
    el("div", { class: "top" }, el("h2", {}, title), el("button", { class: "plain", onclick: hide, title: "Escape" }, "Close")),
    el("div", { class: "facts" },
      fact("", event.result || event.outcome, outcomeClass(event)), fact("took", ms(event.duration)), fact("at", clock(startOf(item))),
      fact("type", [event.type, event.subtype, event.action].filter(Boolean).join(" / ")), fact("service", serviceOf(item)), fact("user", userOf(item)),
      item.protocol === "intake" ? null : fact("by", item.protocol), event.sampled === false ? fact("", "unsampled", "warn") : null),
    el("div", { class: "facts mono" }, fact("trace", event.trace_id || event["trace.id"]), fact("id", event.id)),
    waterfall(),
    own.length ? el("h3", {}, own.length === 1 ? "Error" : own.length + " errors") : null, ...own.map(errorBox),
    ...contextTables(item),
    el("details", { class: "raw" }, el("summary", {}, "Raw JSON"), el("pre", {}, JSON.stringify(event, null, 2))),
    el("details", { class: "raw" }, el("summary", {}, "Metadata"), el("pre", {}, JSON.stringify(item.metadata, null, 2))),
  ].filter(Boolean));
  detail.hidden = false;
}

function waterfall() {
  const items = state.trace.filter(item => item.type === "transaction" || item.type === "span");
  if (!items.length) return null;
  const byId = new Map(items.map(item => [item.event.id, item]));
  const start = item => {
    const base = item.event.timestamp === undefined && typeof item.event.start === "number" ? byId.get(item.event.transaction_id) : null;
    return base ? startOf(base) + item.event.start * 1000 : startOf(item);
  };
  const begin = Math.min(...items.map(start)), end = Math.max(...items.map(item => start(item) + (item.event.duration || 0) * 1000));
  const span = Math.max(end - begin, 1), percent = micros => (100 * micros / span).toFixed(3) + "%";
  const children = new Map();
  const roots = [];
  for (const item of items) {
    const parent = item.event.parent_id;
    if (parent !== undefined && parent !== item.event.id && byId.has(parent)) children.set(parent, [...(children.get(parent) || []), item]);
    else roots.push(item);
  }
  const failed = new Map();
  for (const error of state.trace.filter(item => item.type === "error")) failed.set(error.event.parent_id, (failed.get(error.event.parent_id) || 0) + 1);
  const rows = [], visited = new Set();
  const walk = (list, depth) => {
    for (const item of list.sort((a, b) => start(a) - start(b))) {
      if (visited.has(item)) continue;
      visited.add(item);
      const event = item.event, bar = el("span", { class: "bar " + colour(item) });
      bar.style.left = percent(start(item) - begin);
      bar.style.width = percent((event.duration || 0) * 1000);
      const label = el("span", { class: "label" + (item.type === "transaction" ? " strong" : ""), title: event.name || "" }, el("span", { class: "kind " + colour(item) }), event.name || event.type || event.id,
        failed.has(event.id) ? el("span", { class: "bad" }, "  ● " + failed.get(event.id)) : null);
      label.style.paddingLeft = Math.min(depth, 12) * 14 + "px";
      rows.push(el("button", { class: "row", "aria-pressed": String(idOf(item) === idOf(state.focus)), onclick: () => { state.focus = item; showDetail(); } },
        label, el("span", { class: "track" }, bar), el("span", { class: "num" + (event.outcome === "failure" ? " bad" : " dim") }, ms(event.duration))));
      walk(children.get(event.id) || [], depth + 1);
    }
  };
  walk(roots, 0);
  walk(items, 0);
  return el("div", {}, el("h3", {}, "Trace, " + items.length + (items.length === 1 ? " event" : " events")),
    el("div", { class: "axis" }, [0, .25, .5, .75, 1].map(part => el("span", {}, part ? ms(span / 1000 * part) : "0"))), rows);
}

function errorBox(item) {
  const log = object(item.event.log), exception = item.event.exception;
  return el("div", { class: "error" },
    exception ? exceptionBox(exception) : [el("div", { class: "strong bad" }, log.level || "log"), el("p", { class: "message" }, log.message || ""), frames(log.stacktrace)],
    object(ecs(item).error).stack_trace ? el("details", { class: "frames" }, el("summary", {}, "Stack"), el("pre", {}, String(ecs(item).error.stack_trace))) : null,
    el("div", { class: "facts" }, fact("culprit", item.event.culprit), object(exception).handled === false ? fact("", "unhandled", "warn") : null, fact("at", clock(startOf(item)))));
}

function exceptionBox(exception) {
  exception = object(exception);
  const causes = Array.isArray(exception.cause) ? exception.cause : [];
  return el("div", {},
    el("div", { class: "strong bad" }, [exception.module, exception.type].filter(Boolean).join(" "), exception.code !== undefined ? " (" + exception.code + ")" : ""),
    el("p", { class: "message" }, exception.message || ""), frames(exception.stacktrace),
    causes.map(cause => el("div", { class: "cause" }, el("div", { class: "dim" }, "caused by"), exceptionBox(cause))));
}

function frames(stack) {
  if (!Array.isArray(stack) || !stack.length) return null;
  const list = stack.map(object);
  const own = list.filter(frame => !frame.library_frame).length;
  return el("details", { class: "frames" }, el("summary", {}, list.length + " frames" + (own ? ", " + own + " in the app" : "")),
    el("ol", { class: "mono" }, list.map(frame => el("li", { class: frame.library_frame ? "library" : "" }, frame.function || frame.classname || "?", el("span", { class: "dim" }, "  " + (frame.filename || frame.classname || "") + (frame.lineno ? ":" + frame.lineno : ""))))));
}

// Leaves of an object as rows, nested keys joined by dots.
function flatten(value, path = "", rows = []) {
  if (value && typeof value === "object" && Object.keys(value).length) for (const [key, inner] of Object.entries(value)) flatten(inner, path ? path + "." + key : key, rows);
  else if (value !== undefined && value !== null && typeof value !== "object") rows.push([path, String(value)]);
  return rows;
}

function pairs(name, value) {
  const rows = flatten(value);
  return rows.length ? [el("h3", {}, name), el("table", { class: "pairs" }, el("tbody", {}, rows.map(([key, text]) => el("tr", {}, el("td", {}, key), el("td", {}, text)))))] : [];
}

const TITLES = { tags: "Labels", user: "User", custom: "Custom", request: "Request", response: "Response", db: "Database", http: "HTTP", destination: "Destination", message: "Message", service: "Service", cloud: "Cloud", page: "Page" };
function contextTables(item) {
  const inner = context(item), known = Object.keys(TITLES);
  const keys = [...known.filter(key => key in inner), ...Object.keys(inner).filter(key => !known.includes(key))];
  const tables = keys.flatMap(key => pairs(TITLES[key] || key, inner[key]));
  if (item.type === "metricset") tables.push(...pairs("Samples", item.event.samples), ...pairs("Labels", item.event.tags));
  if (item.type === "log") tables.push(...pairs("Fields", item.event));
  for (const [key, title] of [["span_count", "Spans"], ["composite", "Composite"], ["otel", "OpenTelemetry"], ["links", "Links"], ["dropped_spans_stats", "Dropped spans"], ["ecs", "Further fields"], ["dropped", "Dropped by an APM Server"]]) tables.push(...pairs(title, item.event[key]));
  if (Array.isArray(item.event.stacktrace) && item.event.stacktrace.length) tables.push(el("h3", {}, "Stack"), frames(item.event.stacktrace));
  return tables;
}

// ---- wiring ----
for (const [tab, name] of TABS) {
  $("tabs").append(el("button", { role: "tab", "data-tab": tab, "aria-selected": String(tab === state.tab), onclick: () => {
    state.tab = tab; state.seen = null;
    for (const button of $("tabs").children) button.setAttribute("aria-selected", String(button.dataset.tab === tab));
    hide(); refresh(true);
  } }, name, el("span", { class: "count" })));
}
let typing;
$("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { state.search = $("search").value.trim(); state.seen = null; refresh(true); }, 150); });
$("clear").addEventListener("click", async () => { await call("/api/events", { method: "DELETE" }); hide(); refresh(true); });
addEventListener("keydown", event => { if (event.key === "Escape") hide(); if (event.key === "/" && document.activeElement !== $("search")) { event.preventDefault(); $("search").focus(); } });
// A link may name what to show: /ui#q=0xabc&tab=error&first
const wanted = new URLSearchParams(location.hash.slice(1));
if (wanted.has("q")) $("search").value = state.search = wanted.get("q");
if (TABS.some(([tab]) => tab === wanted.get("tab"))) { state.tab = wanted.get("tab"); for (const button of $("tabs").children) button.setAttribute("aria-selected", String(button.dataset.tab === state.tab)); }
refresh(true).then(() => wanted.has("first") && document.querySelector("#list tbody tr")?.click());
setInterval(() => document.hidden || refresh(false), 1000);
