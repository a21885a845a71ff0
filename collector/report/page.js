"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);

// Words, in the order of a report: what was not read comes before what passed.
const OUTCOMES = {
  ERROR: ["!", "bad", "the check broke, or the API changed; nothing is concluded"],
  UNKNOWN: ["?", "warn", "it could not be read; nothing is concluded"],
  FAIL: ["\u25B2", "bad", "looked at, and not as the check asks"],
  PASS: ["\u25CF", "good", "looked at, and as the check asks"],
  SKIP: ["\u2013", "idle", "the rule does not apply here"],
};
const RESULTS = {
  exceptions: ["\u25B2", "bad", "at least one resource is not as a mapped check asks"],
  not_collected: ["\u25CB", "warn", "not read, or no check speaks to it: a person asks"],
  no_occurrence: ["\u2013", "idle", "read to the end, and nothing was there that the rules apply to"],
  met: ["\u25CF", "good", "every mapped aspect was read to the end, and none has an exception"],
  inherited: ["\u25C6", "idle", "stated to be another party's, with a reference; not read"],
  not_applicable: ["\u00B7", "idle", "stated not to apply, with a reference; not read"],
};
const STRENGTHS = {
  context: "background only, never counted",
  supports: "agrees with the control, shows no part of it by itself",
  demonstrates_design: "shows that a rule was set",
  demonstrates_implementation: "shows that it was in place at the time of collection",
  demonstrates_operation: "shows that it worked over a period",
};
const PAGE = 200;

// Everything from outside becomes text; characters that steer what is read are spelt out.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const visible = (value) => String(value).replace(UNSEEN, (c) => `\\u{${c.charCodeAt(0).toString(16)}}`);
const words = (term) => String(term).replaceAll("_", " ");
const many = (count, noun, plural = noun + "s") => `${count.toLocaleString("en-GB")} ${count === 1 ? noun : plural}`;

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : visible(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    element.append(child instanceof Node ? child : document.createTextNode(visible(child)));
  }
  return element;
}
const bdi = (value) => h("bdi", null, value);
const code = (value) => h("code", { class: "isolate" }, value);
const badge = (terms, term, extra) => {
  const [mark, tone] = terms[term] || ["?", "warn"];
  return h("span", null, h("span", { class: `badge ${tone}`, "data-mark": mark }, words(term)), extra && [" ", h("span", { class: "also" }, extra)]);
};
const rows = (...pairs) => h("dl", { class: "rows" }, pairs.filter((pair) => pair && filled(pair[1])).map(([term, value]) => [h("dt", null, term), h("dd", null, value)]));
const filled = (value) => value !== null && value !== false && value !== undefined && value !== "" && !(Array.isArray(value) && !value.length);
const time = (value) => h("time", { datetime: value }, String(value).replace("T", " ").replace(/Z$/, " UTC"));

// A closed entry costs one line; what is inside is built when it is first opened.
function entry(kind, cells, body, attributes) {
  const details = h("details", { class: `entry ${kind}`, ...attributes }, h("summary", null, cells));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(h("div", { class: "body" }, body()));
  });
  details.fill = () => { if (details.children.length === 1) details.append(h("div", { class: "body" }, body())); details.open = true; };
  return details;
}

// A list with a filter box, one button per value, and no more rows on the page than were asked for.
function list({ label, head, kind, items, text, value, terms, row, group, page = PAGE, small = 8, empty = "none" }) {
  const state = { words: "", only: new Set(), shown: page };
  const found = new Map();
  if (value) for (const item of items) found.set(value(item), (found.get(value(item)) || 0) + 1);
  const input = h("input", { type: "search", placeholder: `Filter ${label}`, "aria-label": `Filter ${label}`, oninput: () => { state.words = input.value; state.shown = page; draw(); } });
  const buttons = Object.keys(terms || {}).filter((term) => found.has(term)).map((term) => {
    const button = h("button", { type: "button", "aria-pressed": "false", "data-value": term, onclick: () => press(term) }, badge(terms, term), ` ${found.get(term)}`);
    return button;
  });
  const shown = h("span", { class: "shown", role: "status" });
  const place = h("div", { class: "list" });
  const hay = new Map(), made = new Map();
  const haystack = (item) => { if (!hay.has(item)) hay.set(item, text(item).toLowerCase()); return hay.get(item); };
  const press = (term) => { state.only.has(term) ? state.only.delete(term) : state.only.add(term); state.shown = page; draw(); };
  function draw() {
    const wanted = state.words.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = items.filter((item) => (!state.only.size || state.only.has(value(item))) && wanted.every((word) => haystack(item).includes(word)));
    for (const button of buttons) button.setAttribute("aria-pressed", String(state.only.has(button.dataset.value)));
    shown.textContent = hits.length === items.length ? `${items.length} ${label}` : `${hits.length} of ${items.length} ${label}`;
    const parts = [];
    let last;
    for (const item of hits.slice(0, state.shown)) {
      if (group && group(item) !== last) { last = group(item); parts.push(h("h3", null, last)); }
      if (!made.has(item)) made.set(item, row(item));
      parts.push(made.get(item));
    }
    if (!hits.length) parts.push(h("p", { class: "note" }, items.length ? "Nothing matches the filter." : empty));
    if (hits.length > state.shown) parts.push(h("p", { class: "more" }, h("span", { class: "note" }, `The first ${state.shown} of ${hits.length} stand here. `), h("button", { type: "button", onclick: () => { state.shown += page; draw(); } }, `Show ${Math.min(page, hits.length - state.shown)} more`)));
    place.replaceChildren(...(head && hits.length ? [h("div", { class: `cols ${kind}`, "aria-hidden": "true" }, head.map((name) => h("span", { class: name in OUTCOMES ? "n" : "" }, name)))] : []), ...parts);
  }
  draw();
  const root = h("div", null, items.length > small && h("div", { class: "tools" }, input, buttons, shown), place);
  root.reset = (only) => { state.words = input.value = ""; state.only = new Set(only ? [only] : []); state.shown = only ? page : Infinity; draw(); state.shown = page; };
  root.entries = () => [...place.querySelectorAll(":scope > details")];
  return root;
}

const by = (items, key) => new Map(items.map((item) => [item[key], item]));
const grouped = (items, key) => { const groups = new Map(); for (const item of items) { if (!groups.has(item[key])) groups.set(item[key], []); groups.get(item[key]).push(item); } return groups; };
const checks = by(data.checks, "id"), sources = by(data.sources, "id"), replies = by(data.replies, "i");
const findings = grouped(data.findings, "check"), repliesOf = grouped(data.replies, "task");
for (const id of findings.keys()) if (!checks.has(id)) checks.set(id, { id, title: "not in the plan of this run", datasets: [], params: "{}", description: "", severity: "" });
const countsOf = (items) => { const counts = {}; for (const item of items) counts[item.outcome] = (counts[item.outcome] || 0) + 1; return counts; };
const evidenceOf = (ids) => { const seen = new Set(); for (const id of ids) for (const finding of findings.get(id) || []) for (const number of finding.evidence) seen.add(number); return seen.size; };

// Reply: what was asked, by whom, when, and what came back.
function replyEntry(number) {
  const reply = replies.get(number);
  if (!reply) return h("p", { class: "note" }, `Reply ${number} is named as evidence and is not in the manifest of this run.`);
  const error = reply.error && [reply.error.kind, reply.error.code].filter(Boolean).join(", ");
  const cells = [`#${number}`, code(reply.op), time(reply.t), h("span", { class: error ? "badge warn" : "" }, reply.status ?? "no reply"), code(reply.notShown ? "not shown whole" : reply.sha256 ? reply.sha256.slice(0, 16) + "\u2026" : "no body")];
  return entry("reply", cells.map((cell) => h("span", null, cell)), () => rows(
    ["Operation", code([reply.method, reply.op].filter(Boolean).join(" "))],
    ["Parameters", reply.params === "{}" ? "none" : code(reply.params)],
    ["Asked by", reply.caller ? code(reply.caller) : "not applicable to this request"],
    ["Where", [reply.endpoint, reply.region, reply.task].filter(Boolean).join(" \u00B7 ")],
    ["Sent", reply.t && time(reply.t)],
    ["Received", reply.received && [time(reply.received), ` (${reply.ms} ms)`]],
    ["Server's date", reply.date || "none given"],
    ["Status", [String(reply.status ?? "nothing came back"), error && `; ${error}`, reply.detail && `; ${reply.detail}`]],
    ["Request id", reply.requestId ? code(reply.requestId) : "none given"],
    ["Page", `${reply.page}${reply.last ? ", the last" : ", not the last"}; attempt ${reply.attempt}`],
    ["Page token in", reply.tokenIn && code(reply.tokenIn)],
    ["Page token out", reply.tokenOut && code(reply.tokenOut)],
    ["Body", [many(reply.size ?? 0, "byte"), reply.media && `, ${reply.media}`]],
    ["Not shown whole", reply.notShown],
    ["SHA-256", reply.sha256 ? code(reply.sha256) : reply.notShown ? "left out with the fields" : "no body was kept"],
    ["Redactions", reply.redactions && reply.redactions.length ? code(JSON.stringify(reply.redactions)) : "none"],
  ), { "data-reply": number });
}
const REPLY_HEAD = ["No.", "Operation", "Sent", "Status", "SHA-256"];
const replyList = (numbers, label = "replies") => list({
  label, kind: "reply", head: REPLY_HEAD, items: numbers, page: 100, small: 20, row: replyEntry, empty: "No reply stands behind this.",
  text: (number) => { const reply = replies.get(number); return reply ? [number, reply.op, reply.params, reply.status, reply.requestId, reply.sha256, reply.task, reply.caller].join(" ") : String(number); },
});

// Finding: one check about one resource.
const gradeMark = (finding) => finding.grade && h("abbr", { class: "grade", title: `Grade ${finding.grade}: ${finding.grade_reason}` }, finding.grade);
const waiverWords = (waiver) => `${waiver.state === "active" ? `waived until ${until(waiver.until)}` : `a waiver, ${waiver.state}`}; leaf ${waiver.leaf}, by ${waiver.by}: ${waiver.reason}${waiver.ticket ? ` (${waiver.ticket})` : ""}`;
function findingEntry(finding, within) {
  const where = [h("span", null, bdi(finding.resource), h("br"), h("span", { class: "small" }, bdi(finding.scope)))];
  const beside = [finding.waiver && h("span", { class: "also waiver" }, finding.waiver.state === "active" ? "waived" : `waiver ${finding.waiver.state}`), finding.standing_reason && h("span", { class: "also" }, "stale: stands as UNKNOWN")].filter(Boolean).map((one) => [h("br"), one]);
  const cells = [h("span", null, badge(OUTCOMES, finding.outcome), " ", gradeMark(finding), beside), !within && code(finding.check), ...where, h("span", null, finding.reason)];
  return entry(within ? "within" : "finding", cells, () => [
    rows(
      ["Reason", finding.reason],
      !within && ["Check", checkLink(finding.check)],
      ["Resource", bdi(finding.resource)],
      ["Scope", bdi(finding.scope)],
      ["Waiver", finding.waiver && waiverWords(finding.waiver)],
      ["Stands as", finding.standing_reason && `${finding.standing}: ${finding.standing_reason}`],
      ["Grade", finding.grade && `${finding.grade}: ${finding.grade_reason}`],
      ["Limits used", limits(finding.params || (checks.get(finding.check) || {}).params)],
      ["Result line", finding.i === undefined ? "" : `${finding.i} of results.ndjson`],
    ),
    h("h4", null, "Replies it rests on"), replyList(finding.evidence),
  ]);
}
const limits = (params) => (!params || params === "{}" ? "none: the check has no limit" : code(params));
const findingText = (finding) => [finding.outcome, finding.check, finding.resource, finding.scope, finding.reason, finding.grade && `grade ${finding.grade}`, finding.waiver && "waived", finding.standing_reason && "stale"].join(" ");
const findingList = (items, within) => list({
  label: "findings", kind: within ? "within" : "finding", head: within ? ["Outcome", "Resource", "Reason"] : ["Outcome", "Check", "Resource", "Reason"],
  items, text: findingText, value: (finding) => finding.outcome, terms: OUTCOMES, row: (finding) => findingEntry(finding, within),
  page: within ? 100 : PAGE, empty: "No finding: the run holds no result of this check, so it counts as not read.",
});

// Check: its criterion, its limits, and what it found.
const checkLink = (id) => h("a", { href: `#/check/${encodeURIComponent(id)}` }, code(id));
function checkBody(check) {
  const gaps = data.gaps.filter((gap) => touches(gap, check));
  return [
    rows(
      ["True when it passes", check.title], ["Criterion", check.description], ["Limits used", limits(check.params)], ["Severity", check.severity],
      ["Asks", check.datasets.map((id) => [h("div", null, code(id), sources.has(id) && ` \u2013 ${sources.get(id).definition} Filters: ${sources.get(id).filters || "none"}.`)])],
      ["Code", check.module && [code(check.module), data.code[check.module] && [h("br"), "SHA-256 ", code(data.code[check.module])]]],
      ["Mapped to", data.controls.filter((control) => control.rows.some((row) => row.check === check.id)).map((control, place) => [place ? ", " : "", controlLink(control)])],
    ),
    gaps.length > 0 && [h("h4", null, "What it asked for and could not be read"), gapTable(gaps)],
    h("h4", null, "Findings"), findingList(findings.get(check.id) || [], true),
  ];
}
// A gap in a list touches every check of it; a refused part only the checks that asked for that part.
function touches(gap, check) {
  if (!check.datasets.includes(gap.dataset)) return false;
  if (!(gap.resources || []).length) return true;
  const missing = new Set(gap.resources);
  return (findings.get(check.id) || []).some((finding) => unread(finding) && (!check.each || (finding.scope === gap.scope && missing.has(finding.resource))));
}
const unread = (finding) => finding.outcome === "UNKNOWN" || finding.outcome === "ERROR";
function checkEntry(check) {
  const counts = countsOf(findings.get(check.id) || []);
  const silent = data.silent_checks.includes(check.id);
  return entry("check", [h("span", null, code(check.id)), h("span", null, check.title, silent && [" ", h("span", { class: "badge warn", "data-mark": "?" }, "no result: not read")]),
    ...Object.keys(OUTCOMES).map((outcome) => h("span", { class: counts[outcome] ? `n badge ${OUTCOMES[outcome][1]}` : "n dim", "data-name": outcome, "data-mark": "" }, counts[outcome] || "\u00B7"))],
  () => checkBody(check), { id: `/check/${check.id}` });
}

// Control: what the run shows for it, and what a person still does.
const controlKey = (control) => [control.framework, control.edition, control.id].map(encodeURIComponent).join("/");
const controlLink = (control) => h("a", { href: `#/control/${controlKey(control)}` }, `${control.framework} ${control.id}`);
const order = (result) => Object.keys(RESULTS).indexOf(result);
function aspect(row) {
  const check = checks.get(row.check);
  const counts = Object.keys(OUTCOMES).filter((outcome) => row.counts[outcome]).map((outcome) => `${row.counts[outcome]} ${outcome}`).join(", ");
  const limit = row.criterion && [row.criterion.ref, row.criterion.param].filter(Boolean).join(", ");
  return h("section", { class: `aspect ${(RESULTS[row.result] || ["", "warn"])[1]}` },
    h("div", { class: "head" }, h("h4", null, row.aspect), badge(RESULTS[row.result] ? RESULTS : {}, row.result, row.incomplete && row.result !== "not_collected" && "not read to the end")),
    rows(
      ["What was seen", [row.reason, counts && ` (${counts})`]],
      ["Occurrences", row.operation && [`${many(row.operation.occurrences, "event")}: `, row.operation.definition]],
      ["Period", row.operation && row.operation.from && [time(row.operation.from), " to ", time(row.operation.to)]],
      ["Strength", `${words(row.strength)}: ${STRENGTHS[row.strength] || ""}`],
      ["Coverage", row.coverage === "full" ? "full" : `partial; remains to be shown: ${(row.remainder || []).join("; ")}`],
      ["Does not show", row.does_not_show], ["Criterion", limit], ["Evidence is the", row.party && `${row.party}'s`],
    ),
    check ? entry("drill", [h("span", null, "Check ", code(row.check), ` \u2013 ${check.title}`)], () => checkBody(check)) : h("p", { class: "note" }, "Check ", code(row.check), " did not run here."));
}
const stated = by(data.attachments || [], "leaf");
const until = (moment) => { const at = new Date(moment); if (/T00:00:00/.test(moment)) at.setTime(at.getTime() - 1); return `${at.toISOString().slice(0, 10)}${/T00:00:00/.test(moment) ? "" : ` ${at.toISOString().slice(11, 16)} UTC`}`; };
const day = (moment) => (/T00:00:00/.test(moment) ? moment.slice(0, 10) : time(moment));
const covered = (control) => ((data.continuity || {}).controls || []).find((one) => one.framework === control.framework && one.edition === control.edition && one.id === control.id);
const controlBeside = (control) => [
  control.waived > 0 && `${control.waived} of ${control.failing} waived`,
  control.standing && control.standing !== control.result && `stands as ${words(control.standing)}: stale`,
  control.evidence && control.evidence.startsWith("human") && control.evidence,
].filter(Boolean);
// What a person states is marked as such wherever it stands, and never mixed with what was read.
function statement(one) {
  return h("section", { class: `aspect human ${one.standing ? "idle" : "warn"}`, "data-statement": one.leaf },
    h("div", { class: "head" }, h("h4", null, "Stated by a person: ", bdi(one.title)), h("span", { class: one.standing ? "badge idle" : "badge warn" }, one.words)),
    rows(
      ["By", [bdi(one.by), one.role && [", ", bdi(one.role)]]], ["What", one.form === "file" ? ["file ", bdi(one.name)] : "a statement in words"],
      ["For", one.controls.map((key, place) => [place ? ", " : "", `${key.framework} ${key.id}`])],
      ["Period", [day(one.from), " to ", until(one.to)]], ["Effective", day(one.effective)], ["Recorded", time(one.recordedOn)], ["Valid until", until(one.validUntil)],
      ["To be asked", one.flags.map((flag) => h("div", { class: "also" }, flag))],
      ["Bytes", [`${many(one.size, "byte")}, SHA-256 `, code(one.sha256), `; leaf ${one.leaf} of the log`]],
    ));
}
function controlEntry(control) {
  const ids = [...new Set(control.rows.map((row) => row.check))].filter((id) => checks.has(id));
  const count = evidenceOf(ids);
  return entry("control", [
    h("span", { class: "mono" }, control.id), h("span", null, control.title),
    h("span", null, badge(RESULTS, control.result, control.incomplete && control.result !== "not_collected" && "incomplete"), controlBeside(control).map((one) => [h("br"), h("span", { class: "also" }, one)])),
    h("span", { class: control.strength ? "" : "dim" }, control.strength ? words(control.strength) : "none shown"),
    h("span", null, ids.length ? many(ids.length, "check") + "; " : "", control.method.join(", ")),
    h("span", { class: count ? "" : "dim" }, count ? many(count, "reply", "replies") : (control.human || []).length ? many(control.human.length, "statement") : "none")],
  () => [
    h("p", { class: "quote" }, control.reason, "."),
    h("h4", null, "What a person still does"),
    rows(["Method", control.method.join(", ")], ["Look for", control.ask], ["Ask for", control.documents],
      ["Formerly", (control.formerly || []).map((one) => h("div", null, `${one.id} (${one.edition}), ${words(one.relation)}${one.note ? `; ${one.note}` : ""}`))],
      ["Over the period", covered(control) && covered(control).share !== null && `read whole in ${many(covered(control).occurrences, "slot")}, ${(covered(control).share * 100).toFixed(1)} % of those committed`],
      ["Evidence", control.evidence]),
    (control.human || []).length > 0 && [h("h4", null, "What people state"), control.human.map((leaf) => statement(stated.get(leaf)))],
    control.rows.length ? h("h4", null, "What the checks show") : h("p", { class: "note" }, "No check is mapped to this control. Nothing about it was automated in this run."),
    [...control.rows].sort((a, b) => order(a.result) - order(b.result)).map(aspect),
  ], { id: `/control/${controlKey(control)}`, "data-control": control.id });
}

// Sections, in the order an auditor asks.
function gapTable(gaps, link) {
  const heads = ["Dataset and scope", "Why", "Reason", "Operation", "Missing", link && "Leaves open"].filter(Boolean);
  return h("div", { class: "tablewrap" }, h("table", { class: "gaps" },
    h("thead", null, h("tr", null, heads.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", null, gaps.map((gap) => h("tr", null,
      h("td", null, code(gap.dataset), h("br"), h("span", { class: "small" }, bdi(gap.scope))),
      h("td", null, h("span", { class: "badge warn" }, gap.kind)),
      h("td", null, gap.reason),
      h("td", null, gap.operation && code(gap.operation)),
      h("td", null, (gap.resources || []).length ? unfold(many(gap.resources.length, "record"), gap.resources.map(bdi)) : "the whole list"),
      link && h("td", null, openChecks(gap)))))));
}
const unfold = (title, lines) => h("details", null, h("summary", null, title), lines.map((line) => h("div", null, line)));
function openChecks(gap) {
  const touched = data.checks.filter((check) => touches(gap, check));
  return touched.length ? unfold(many(touched.length, "check"), touched.map((check) => checkLink(check.id))) : "no check";
}
function facts() {
  const span = data.replies.filter((reply) => reply.t).map((reply) => reply.t).sort();
  const ends = data.replies.map((reply) => reply.received || reply.t).filter(Boolean).sort();
  const callers = [...new Set(data.replies.map((reply) => reply.caller).filter(Boolean))];
  const broken = new Set(data.gaps.map((gap) => `${gap.dataset}@${gap.scope}`));
  const fact = (term, value) => filled(value) && h("div", null, h("dt", null, term), h("dd", null, value));
  return h("dl", { class: "facts" },
    fact("First request sent", span.length ? time(span[0]) : "none was sent"), fact("Last reply received", ends.length && time(ends[ends.length - 1])),
    fact("Scheduled for", data.opening.scheduledFor && time(data.opening.scheduledFor)), fact("Ran because", data.opening.trigger),
    fact("Read from", data.places.map((place) => h("div", null, `${place.name} (${place.kind})`, place.accounts && place.accounts.length > 0 && `: ${place.accounts.join(", ")}`))),
    fact("Asked as", callers.slice(0, 4).map((caller) => h("div", null, code(caller))).concat(callers.length > 4 ? [`and ${callers.length - 4} more`] : [])),
    fact("Planned", [many(data.tasks.length, "list"), ", ", `${data.tasks.filter((task) => broken.has(task.id)).length} of them with something unread`]),
    fact("Replies on record", data.replies.length.toLocaleString("en-GB")),
    fact("Collector", [data.collector.name, data.collector.version].filter(Boolean).join(" ")), fact("Configuration (SHA-256)", data.config && code(data.config)),
    fact("Told as of", data.at && time(data.at)), fact("Waived", data.waived > 0 && `${data.waived} of ${many(data.counts.FAIL, "exception")}; they stay FAIL`),
    fact("Stands as", data.standing.stale.length > 0 && `${data.standing.counts.UNKNOWN} unknown: ${many(data.standing.stale.length, "list")} read too long ago`),
    fact("Period", data.continuity && [day(data.continuity.from), " to ", until(data.continuity.to), data.continuity.share !== null && `: ${(data.continuity.share * 100).toFixed(1)} % covered, ${many(data.continuity.slots.length, "slot")} due`, (data.continuity.uncommitted || []).map((hole) => h("div", null, `no timetable: ${day(hole.from)} to ${until(hole.to)}`))]),
    fact(data.seal.authenticated ? "Signing key (fingerprint)" : "Signing key the store names, not authenticated", data.seal.fingerprint && code(data.seal.fingerprint)), fact("Place in the log", data.opening.index !== undefined && `leaf ${data.opening.index}${data.closing.index === undefined ? "" : ` to ${data.closing.index}`}`));
}
const jump = (selector, then) => h("button", { type: "button", class: "plain", onclick: () => { then(); document.querySelector(selector).scrollIntoView(); } });
function cell(count, selector, then) {
  if (!count) return h("td", { class: "n zero" }, "0");
  const button = jump(selector, then);
  button.textContent = String(count);
  return h("td", { class: "n" }, button);
}
const allFindings = findingList(data.findings, false);
const FRAMEWORKS = [];
for (const control of data.controls) {
  const clause = control.framework === "iso-27001" && !control.id.startsWith("A.");
  const label = `${control.framework_name}:${control.edition}` + (control.framework === "iso-27001" ? (clause ? ", clauses" : ", Annex A") : "");
  let tab = FRAMEWORKS.find((one) => one.label === label);
  if (!tab) FRAMEWORKS.push(tab = { label, clause, items: [] });
  tab.items.push(control);
}
FRAMEWORKS.sort((a, b) => Number(a.clause) - Number(b.clause) || 0);
FRAMEWORKS.sort((a, b) => Number(!a.label.includes("27001")) - Number(!b.label.includes("27001")));
const THEMES = { "A.5": "Organizational", "A.6": "People", "A.7": "Physical", "A.8": "Technological" };
const head = (control) => { const parts = control.id.split("."); const first = /^A$/.test(parts[0]) ? parts.slice(0, 2).join(".") : parts[0]; return THEMES[first] && control.framework === "iso-27001" ? `${first} ${THEMES[first]}` : /^\d/.test(first) ? `Clause ${first}` : first; };
for (const tab of FRAMEWORKS) tab.list = list({
  label: "controls", kind: "control", head: ["Id", "Title", "Result", "Strength", "Means", "Evidence"], items: tab.items, page: 1000, small: 0,
  text: (control) => [control.id, control.title, words(control.result), words(control.strength || ""), control.method.join(" "), control.reason, control.evidence, ...(control.formerly || []).map((one) => one.id), ...control.rows.map((row) => row.check)].join(" "),
  value: (control) => control.result, terms: RESULTS, row: controlEntry, group: head,
});
const tabs = FRAMEWORKS.map((tab, place) => h("button", { type: "button", "aria-pressed": String(!place), onclick: () => choose(place) }, `${tab.label} (${tab.items.length})`));
const controlPlace = h("div");
function choose(place) {
  tabs.forEach((button, number) => button.setAttribute("aria-pressed", String(number === place)));
  controlPlace.replaceChildren(FRAMEWORKS[place].list);
}
if (FRAMEWORKS.length) choose(0);
const current = () => FRAMEWORKS[tabs.findIndex((button) => button.getAttribute("aria-pressed") === "true")];
// The worst a check found; a check that found nothing at all is unread.
const worst = (check) => { const counts = countsOf(findings.get(check.id) || []); return Object.keys(OUTCOMES).find((outcome) => counts[outcome]) || "UNKNOWN"; };
const rank = Object.fromEntries(Object.keys(OUTCOMES).map((outcome, place) => [outcome, place]));
const allChecks = list({
  label: "checks", kind: "check", head: ["Check", "True when it passes", ...Object.keys(OUTCOMES)], page: 500, small: 0,
  items: [...checks.values()].sort((a, b) => rank[worst(a)] - rank[worst(b)] || (a.id < b.id ? -1 : 1)), value: worst, terms: OUTCOMES,
  text: (check) => [check.id, check.title, check.severity, ...check.datasets].join(" "), row: checkEntry,
});
const rights = new Map(data.permissions.map((row) => [row.dataset, row]));
const rightOf = (dataset, name) => { const row = rights.get(dataset) || {}; return (row.unused || []).includes(name) ? " \u2013 not used in this run" : (row.not_derivable || []).includes(name) ? " \u2013 no request can show whether it was used" : ""; };
const populationList = list({
  label: "lists", kind: "population", head: ["Dataset", "Scope", "Records", "Read to", "Replies"], items: data.populations, page: 500, empty: "The run holds no list.",
  text: (item) => [item.dataset, item.scope, item.basis, item.gap].join(" "),
  row: (item) => entry("population", [h("span", null, code(item.dataset)), h("span", null, bdi(item.scope)), h("span", null, item.rows), h("span", { class: item.gap ? "badge warn" : "" }, item.gap ? `not to the end: ${item.gap}` : words(item.basis).replace("terminal-page", "its last page")), h("span", null, item.replies.length)], () => {
    const source = sources.get(item.dataset) || {};
    return [rows(["What it lists", source.definition], ["Filters", source.filters || "none"], ["Permissions", (source.permissions || []).map((name) => h("div", null, code(name), rightOf(item.dataset, name)))], ["Asked without a declaration", ((rights.get(item.dataset) || {}).undeclared || []).map((one) => h("div", null, one.reason))], ["Redactions declared", (source.redactions || []).map((one) => h("div", null, code(one.path), ` \u2013 ${one.reason}`))], ["Named by", source.key && code(source.key)], ["Kind", source.kind === "period" ? "events over a period" : "the state at one moment"]), replyList(item.replies)];
  }),
});
const listed = new Set(data.populations.map((item) => item.task));
const orphans = data.replies.filter((reply) => !listed.has(reply.task));
// A leaf has room for some changes; all of them, told anew from the sealed plans, stand folded under it.
const spelt = (item) => (item.changes || []).some((one) => !item.reason.includes(one)) && h("details", { class: "changes" }, h("summary", null, `all ${many(item.changes.length, "change")}`), h("ul", null, item.changes.map((one) => h("li", null, one))));
const glossary = (title, terms) => h("div", null, h("h3", null, title), h("dl", { class: "rows" }, Object.entries(terms).map(([term, told]) => [h("dt", { style: "text-transform:none" }, Array.isArray(told) ? badge(terms, term) : words(term)), h("dd", null, Array.isArray(told) ? told[2] : told)])));

const sections = [
  ["summary", "Summary", null, [
    facts(),
    h("div", { class: "pair counts" },
      h("div", null, h("h3", null, "Findings by outcome"), h("table", { id: "outcomes" }, h("tbody", null, Object.keys(OUTCOMES).map((outcome) => h("tr", null, h("td", null, badge(OUTCOMES, outcome)), cell(data.counts[outcome], "#findings", () => allFindings.reset(outcome))))))),
      h("div", null, h("h3", null, "Controls by result"), FRAMEWORKS.length ? h("div", { class: "tablewrap" }, h("table", { id: "results" },
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "Framework"), Object.keys(RESULTS).map((result) => h("th", { scope: "col", class: "n" }, words(result))))),
        h("tbody", null, FRAMEWORKS.map((tab, place) => h("tr", null, h("td", null, tab.label), Object.keys(RESULTS).map((result) => cell(tab.items.filter((control) => control.result === result).length, "#controls", () => { choose(place); tab.list.reset(result); }))))))) : h("p", { class: "note" }, "No control was concluded in this run."))),
  ]],
  ["unread", "Not read", data.gaps.length + data.silent_checks.length, [
    data.gaps.length ? [h("p", { class: "lead" }, "Nothing is concluded from what stands here" + (data.state === "complete" ? "; every check that needed it says UNKNOWN." : ".")), gapTable(data.gaps, true)]
      : h("p", { class: "lead" }, data.state === "complete" ? `All ${many(data.tasks.length, "planned list")} were read to the end.` : "No gap is on record; the run was aborted, see above."),
    data.standing.stale.length > 0 && [h("h3", null, "Stale: read too long before this report"), h("p", { class: "note" }, "The verdicts of the run stay as they were sealed. As of ", time(data.at), " nothing is concluded from these lists any more."),
      h("table", { id: "stale" }, h("thead", null, h("tr", null, ["Dataset", "Scope", "Last read", "Hours before this report", "Limit"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", null, data.standing.stale.map((one) => h("tr", null, h("td", null, code(one.dataset)), h("td", null, bdi(one.scope)), h("td", null, time(one.read)), h("td", null, one.age_h), h("td", null, one.limit_h)))))],
    data.stopped_passes > 0 && h("p", null, `${many(data.stopped_passes, "finding")} would have passed, had what they rest on been read.`),
    data.flawed_checks.length > 0 && [h("h3", null, "Checks that did not do what their examples say: their PASS counts for nothing"), data.flawed_checks.map((flaw) => h("p", null, flaw))],
    data.silent_checks.length > 0 && [h("h3", null, "Checks that were planned and gave no result"), h("p", null, data.silent_checks.map((id, place) => [place ? ", " : "", checkLink(id)]))],
    data.disabled.length > 0 && [h("h3", null, "Checks that were switched off"), h("table", { id: "disabled" }, h("thead", null, h("tr", null, ["Check", "Reason given", "By"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", null, data.disabled.map((item) => h("tr", null, h("td", null, code(item.id)), h("td", null, item.reason), h("td", null, item.by)))))],
    data.selection && h("p", { class: "note" }, `Only a part was asked for: ${data.selection}.`),
    ["measurement", "environment"].map((side) => [side, data.suppressions.filter((item) => item.side === side)]).filter(([, items]) => items.length > 0).map(([side, items]) => [h("h3", null, side === "measurement" ? "What you were not shown, and how the measurement changed" : "How the environment changed since the run before"), h("table", { id: `suppressions-${side}` }, h("thead", null, h("tr", null, ["What", "Name", "In words", "By", "When"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", null, items.map((item) => h("tr", null, h("td", null, item.what), h("td", null, code(item.name)), h("td", null, item.reason, spelt(item)), h("td", null, item.by || "nobody is named"), h("td", null, item.when || "in this run")))))]),
  ]],
  ["controls", "Controls", data.controls.length, [
    h("p", { class: "lead" }, "Open a control to see what was looked at, what remains, and what a person still asks.", h("span", { class: "screen" }, " Print shows what is open.")),
    h("div", { class: "tabs", role: "group", "aria-label": "Framework" }, tabs),
    FRAMEWORKS.length > 0 && h("p", { class: "screen" }, h("button", { type: "button", id: "open-all", onclick: () => current().list.entries().forEach((details) => details.fill()) }, "Open all shown"), " ", h("button", { type: "button", onclick: () => current().list.entries().forEach((details) => { details.open = false; }) }, "Close all"), " ", h("button", { type: "button", onclick: () => window.print() }, "Print")),
    FRAMEWORKS.length ? controlPlace : h("p", { class: "note" }, "The run ended before any control was concluded."),
  ]],
  ...((data.attachments || []).length ? [["statements", "Statements", data.attachments.length, [h("p", { class: "lead" }, "What people state stands beside what was read from systems and is part of no verdict. How each stands is told as of ", time(data.at), "."), data.attachments.map(statement)]]] : []),
  ...((data.waivers || []).length ? [["waivers", "Waivers", data.waivers.length, [h("p", { class: "lead" }, "Exceptions that people let stand. The findings stay FAIL, and no control is met by a waiver."),
    h("div", { class: "tablewrap" }, h("table", { id: "waived" }, h("thead", null, h("tr", null, ["State", "Check", "Resource", "Until", "Why", "By", "Leaf"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", null, data.waivers.map((one) => h("tr", null, h("td", null, one.state), h("td", null, checkLink(one.check)), h("td", null, bdi(one.resource), one.scope && [" ", h("span", { class: "small" }, bdi(one.scope))]), h("td", null, until(one.until)), h("td", null, one.reason, one.ticket && ` (${one.ticket})`, one.withdrawnWhy && `; withdrawn by ${one.withdrawnBy}: ${one.withdrawnWhy}`), h("td", null, one.by), h("td", null, one.leaf))))))]]] : []),
  ["checks", "Checks", checks.size, [h("p", { class: "lead" }, "Findings of each check. A check without any is not read, and says so."), allChecks]],
  ["findings", "Findings", data.findings.length, [h("p", { class: "lead" }, "Unread first, then what does not conform."), allFindings]],
  ["read", "What was read", data.populations.length, [h("p", { class: "lead" }, "Each list that was planned, how far it was read, and the replies it was read from."), populationList,
    orphans.length > 0 && [h("h3", null, "Replies outside any list"), replyList(orphans.map((reply) => reply.i))]]],
  ["words", "Words", null, [h("div", { class: "pair" }, [glossary("Outcome of a check", OUTCOMES), glossary("Result of a control", RESULTS)]), glossary("Strength: what evidence can show", STRENGTHS), glossary("Grade: how far a finding can be verified", data.grades),
    h("h3", null, "To perform it again"), h("p", null, code(`affidavit rerun STORE ${data.run}`), " replays the recorded replies through the same code, without a network, and must reach the same findings. The body of a reply is kept in the store under its SHA-256.")]],
];
document.querySelector("nav").append(...sections.map(([id, title, count]) => h("a", { href: `#${id}` }, title, count !== null && h("span", { class: "n" }, count.toLocaleString("en-GB")))));
document.querySelector("main").append(...sections.map(([id, title, , content]) => h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title === "Not read" ? "What could not be read" : title === "Words" ? "What the words mean" : title), content)));

// Addresses: #/control/FRAMEWORK/EDITION/ID and #/check/ID open the entry they name.
function follow() {
  const [, kind, ...parts] = location.hash.slice(1).split("/");
  let id;
  try { id = parts.map(decodeURIComponent); } catch { return; }
  let found;
  if (kind === "control" && id.length === 3) {
    const place = FRAMEWORKS.findIndex((tab) => tab.items.some((control) => control.framework === id[0] && control.edition === id[1] && control.id === id[2]));
    if (place < 0) return;
    choose(place);
    FRAMEWORKS[place].list.reset();
    found = FRAMEWORKS[place].list.entries().find((details) => details.dataset.control === id[2]);
  } else if (kind === "check") {
    allChecks.reset();
    found = allChecks.entries().find((details) => details.id === `/check/${id.join("/")}`);
  }
  if (!found) return;
  found.fill();
  found.scrollIntoView();
  found.querySelector("summary").focus({ preventScroll: true });
}
addEventListener("hashchange", follow);
// On paper nothing can be opened: the names behind every gap are printed.
let closed = [];
addEventListener("beforeprint", () => { closed = [...document.querySelectorAll("#unread details:not([open])")]; closed.forEach((details) => { details.open = true; }); });
addEventListener("afterprint", () => { closed.forEach((details) => { details.open = false; }); });
follow();
document.documentElement.dataset.ready = "true";
})();
