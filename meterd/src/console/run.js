// One run: its calls as they happened with cost, tokens, price lines and digest; its budgets; its kill.

import { ask } from "./api.js";
import { chip, count, el, exact, moment, percent, say, span, standing, time, usd } from "./dom.js";
import { confirmKill } from "./kill.js";
import { key, now, store, watch } from "./store.js";

const PAGE = 500;
const CALLS_SHOWN = 300;

export function run(main, [namespace, name]) {
  document.title = `${name} · meterd`;
  const path = `/v1/namespaces/${encodeURIComponent(namespace)}/executions/${encodeURIComponent(name)}`;
  const state = { document: null, entries: [], next: null, allowance: null, shown: CALLS_SHOWN, seen: "", busy: false, gone: false };
  const title = el("div.title", {});
  const figures = ["Cost", "With sub-runs", "Calls", "Tokens", "Running", "May still spend"].map((label) => {
    const [value, note] = [el("p", {}, "–"), el("small", {}, " ")];
    return { node: el("section.card.figure", { "aria-label": label }, el("h2", {}, label), value, note), value, note };
  });
  const calls = el("ol.calls", {});
  const callsNote = el("span.quiet", {});
  const record = el("section.card", { "aria-label": "Kill record" });
  const budgets = el("div", {});
  const about = el("dl.facts", {});
  const where = el("div.stripe", { role: "img" });
  const legend = el("dl.facts", {});
  const more = el("button.button", { type: "button", onclick: () => { state.shown += CALLS_SHOWN; draw(); } }, "Show more calls");
  const moreBox = el("div.more", {}, more);
  main.append(el("div.stack", {},
    el("div", {}, el("p.crumb", {}, el("a", { href: "#/" }, "Fleet"), ` / ${namespace}`), title),
    el("div.figures", {}, figures.map((figure) => figure.node)),
    el("div.two", {},
      el("section.card", { "aria-label": "Timeline of calls" }, el("div.head", {}, el("h2", {}, "Timeline"), callsNote), calls, moreBox),
      el("div.stack", {}, record, el("section.card", { "aria-label": "Cost by what was called" }, el("div.head", {}, el("h2", {}, "What it went to")), where, legend),
        el("section.card", { "aria-label": "Budgets of this run" }, el("div.head", {}, el("h2", {}, "Its budgets")), budgets),
        el("section.card", { "aria-label": "About this run" }, el("div.head", {}, el("h2", {}, "About")), about)))));

  async function load() {
    if (state.busy) return;
    state.busy = true;
    try {
      const live = store.runs.get(key(namespace, name));
      const seen = live ? [live.cost, live.calls, live.tools, live.phase, live.kill].join() : state.document ? state.seen : "";
      if (state.document && live && seen === state.seen) return;
      [state.document, state.allowance] = await Promise.all([ask(path), ask(`${path}/allowance`).catch(() => null)]);
      do {
        const page = await ask(`${path}/entries?limit=${PAGE}${state.next ? `&continue=${state.next}` : ""}`);
        const known = new Set(state.entries.map((entry) => entry.seq));
        state.entries.push(...page.entries.filter((entry) => !known.has(entry.seq)));
        const last = state.entries[state.entries.length - 1];
        state.next = page.continue ?? (last ? last.seq + 1 : null);
        if (!page.continue) break;
      } while (state.entries.length < 20000);
      state.seen = seen;
      draw();
    } catch (error) {
      if (!state.document) {
        state.gone = true;
        main.replaceChildren(el("div.card.empty", {}, error.message, " ", el("a", { href: "#/" }, "Back to the fleet")));
      }
    } finally {
      state.busy = false;
    }
  }

  function head() {
    const { document: run } = state;
    const live = store.runs.get(key(namespace, name));
    const shown = live ?? { phase: run.status.phase, kill: run.status.kill?.state };
    const open = !["Succeeded", "Failed", "Cancelled"].includes(shown.phase);
    const parts = [el("h1", {}, name), chip(standing(shown)), el("span.quiet", {}, [run.spec?.agentRef?.name, run.spec?.team].filter(Boolean).join(" · "))];
    if (open && !shown.kill) parts.push(el("button.button.danger", { type: "button", onclick: () => confirmKill({ namespace, name }) }, "Kill run"));
    const same = [name, shown.phase, shown.kill, shown.soft, shown.hard].join();
    if (title.dataset.same !== same) {
      title.dataset.same = same;
      title.replaceChildren(...parts);
    }
    const cost = live?.cost ?? run.status.costUsd;
    set(figures[0], usd(cost), "own ledger lines", exact(cost));
    set(figures[1], usd(live?.subtree ?? run.status.subtreeCostUsd), "with every run below it");
    set(figures[2], count(run.status.modelCalls + run.status.toolCalls), `${count(run.status.modelCalls)} models, ${count(run.status.toolCalls)} tools`);
    const tokens = state.entries.reduce((sum, entry) => sum + tokensOf(entry).total, 0);
    set(figures[3], count(live?.tokens ?? tokens), "all types, each once");
    const end = run.status.completedAt ? Date.parse(run.status.completedAt) : now();
    set(figures[4], span((end - Date.parse(run.status.startedAt)) / 1000), open ? `since ${time(run.status.startedAt)}` : `until ${time(run.status.completedAt)}`);
    const left = state.allowance;
    set(figures[5], !open ? "ended" : left?.decision === "deny" ? "nothing" : left?.remainingUsd ? usd(left.remainingUsd) : "no limit", left?.message ?? (left?.remainingUsd ? "by its tightest budget" : "no budget in US dollars binds it"));
  }

  function draw() {
    head();
    drawCalls();
    drawRecord();
    drawBudgets();
    drawAbout();
  }

  function happenings() {
    const kill = state.document.status.kill;
    const record = store.kills.get(kill?.id);
    const events = store.news.filter((fact) => fact.namespace === namespace && fact.execution === name && (fact.what === "warned" || fact.what === "reached"))
      .map((fact) => ({ at: fact.at, order: fact.seq, colour: fact.what === "reached" ? "red" : "amber", text: `${fact.what === "reached" ? "Reached the limit of" : `Passed ${percent(Number(fact.data.level))} of`} ${fact.data.budget.name}: ${fact.data.budget.spentUsd ? `${usd(fact.data.budget.spentUsd)} of ${usd(fact.data.budget.limitUsd)}` : fact.data.budget.window}` }));
    const found = [];
    for (const condition of state.document.status.conditions ?? []) {
      if (!events.length && condition.status === "True" && ["SoftLimitReached", "BudgetExceeded"].includes(condition.type)) found.push({ at: condition.lastTransitionTime, colour: condition.type === "BudgetExceeded" ? "red" : "amber", text: condition.message ?? condition.type });
    }
    events.push(...found);
    // A kill is named after its entry.
    if (record) events.push({ at: record.decidedAt, order: Number(kill.id.split("-").pop()), colour: "red", text: `Killed: ${record.message}` });
    return events;
  }

  function drawCalls() {
    const dearest = Math.max(...state.entries.map((entry) => Number(entry.cost_usd ?? 0)), 1e-12);
    const marks = happenings();
    const all = [...state.entries.map((entry) => [entry.recorded_at ?? entry.time, entry]), ...marks.map((mark) => [mark.at, mark])]
      .sort((a, b) => {
        // The ledger's own order, where it is known of both: much happens in one second.
        const [one, two] = [a[1].seq ?? a[1].order, b[1].seq ?? b[1].order];
        return (one && two && one - two) || (Date.parse(a[0]) || 0) - (Date.parse(b[0]) || 0) || Number(!a[1].seq) - Number(!b[1].seq);
      });
    const known = new Map([...calls.children].map((node) => [node.dataset.key, node]));
    // The newest is what one looks for in a run that goes on: it comes first.
    const part = all.reverse().slice(0, state.shown);
    calls.replaceChildren(...part.map(([, row]) => {
      const id = row.seq ? `e${row.seq}-${row.status}` : `m${row.order ?? row.at}-${row.colour}`;
      return known.get(id) ?? (row.seq ? call(row, dearest, id) : mark(row, id));
    }));
    say(callsNote, `${count(state.entries.length)} ledger lines, newest first`);
    moreBox.hidden = all.length <= state.shown;
    if (!all.length) calls.append(el("li.empty", {}, "No call yet."));
  }

  function drawRecord() {
    const id = state.document.status.kill?.id;
    const kill = store.kills.get(id) ?? state.document.status.kill;
    record.hidden = !id;
    if (!id) return;
    const step = (done, what, at, note) => el(done ? "li.done" : "li.open", {}, el("b", {}, what), " ", el("span.quiet", {}, done ? time(at) : "not yet"), note ? el("div.quiet", {}, note) : null);
    const after = (at) => (at && kill.decidedAt ? `${((Date.parse(at) - Date.parse(kill.decidedAt)) / 1000).toFixed(3)} s after the decision` : "");
    const tries = (kill.attempts ?? []).map((attempt) => el(attempt.outcome === "delivered" ? "li.done" : "li.failed", {}, el("b", {}, attempt.outcome === "delivered" ? "Signal taken" : "Signal failed"), ` by ${attempt.channel} `, el("span.quiet", {}, time(attempt.at)), attempt.reason ? el("div.quiet", {}, attempt.reason) : null));
    const status = state.document.status;
    record.replaceChildren(el("div.head", {}, el("h2", {}, "Kill record"), el("code.faint", {}, id), el("span.grow", {}), chip([kill.state ?? "fenced", kill.state === "confirmed" || kill.state === "acked" ? "green" : "red"])),
      el("div.record", {}, el("ol.steps", {},
        el("li", {}, el("b", {}, "Decided and fenced"), " ", el("span.quiet", {}, time(kill.decidedAt)), el("div.quiet", {}, kill.message ?? kill.cause ?? "")),
        tries,
        step(Boolean(kill.ackedAt), "Acknowledged", kill.ackedAt, kill.ackedAt ? `${after(kill.ackedAt)}${kill.ackedBy ? `, by ${kill.ackedBy}` : ""}` : ""),
        step(Boolean(kill.confirmedAt), "Proven gone", kill.confirmedAt, after(kill.confirmedAt))),
        el("p.quiet", {}, `Cost at the decision ${usd(kill.costUsdAtDecision ?? kill.costUsd)}; after it ${usd(status.costAfterFenceUsd ?? 0)} in ${count(status.callsAfterFence ?? 0)} calls.`)));
  }

  function drawBudgets() {
    const rows = (state.allowance?.budgets ?? []).map((budget) => {
      const money = budget.unit === "usd";
      const [spent, limit] = money ? [budget.spentUsd, budget.limitUsd] : [Object.entries(budget).find(([k]) => k.startsWith("spent"))[1], Object.entries(budget).find(([k]) => k.startsWith("limit"))[1]];
      const share = Number(limit) > 0 ? Number(spent) / Number(limit) : 1;
      const bar = el("span.spent", {});
      bar.style.width = `${Math.min(1, share) * 100}%`;
      return el("article.budget", {}, el("header", {}, el("h3", {}, budget.source === "Agent" ? `agent/${budget.name}` : budget.name), el("span.faint", {}, budget.window)),
        el("div.amounts", {}, el("span", {}, el("b", {}, money ? usd(spent) : count(spent)), el("span.quiet", {}, ` of ${money ? usd(limit) : count(limit)} ${money ? "" : budget.unit}`)), el("span.quiet", {}, percent(share))),
        el(share >= 1 ? "div.meter.red" : share >= 0.8 ? "div.meter.amber" : "div.meter", {}, bar));
    });
    budgets.className = rows.length ? "budgets" : "empty";
    budgets.replaceChildren(...(rows.length ? rows : [el("span", {}, state.allowance?.message ?? "No budget binds this run.")]));
  }

  function drawAbout() {
    const { status, spec, metadata } = state.document;
    const tables = (status.priceTables ?? []).map((table) => el("div", {}, `${table.name} ${table.version ?? ""} `, el("code.faint", { title: table.digest }, (table.digest ?? "").slice(0, 12))));
    const facts = [["Namespace", metadata.namespace], ["Agent", spec?.agentRef?.name], ["Team", spec?.team], ["Environment", spec?.environment], ["Parent", spec?.parentRef?.name], ["Conversation", spec?.conversationRef?.name],
      ["Started", moment(status.startedAt)], ["Ended", status.completedAt && moment(status.completedAt)], ["Unpriced calls", status.unpricedCalls ? String(status.unpricedCalls) : null], ["Price tables", tables.length ? tables : null]];
    about.replaceChildren(...facts.filter(([, value]) => value).flatMap(([label, value]) => [el("dt", {}, label), el("dd", {}, value)]));
    const sums = new Map();
    for (const entry of state.entries) {
      const what = entry.model ?? entry.tool ?? entry.kind;
      sums.set(what, (sums.get(what) ?? 0) + Number(entry.cost_usd ?? 0));
    }
    const parts = [...sums].sort((a, b) => b[1] - a[1]);
    const total = parts.reduce((sum, [, cost]) => sum + Math.max(0, cost), 0);
    where.setAttribute("aria-label", parts.slice(0, 5).map(([what, cost]) => `${what} ${usd(cost)}`).join(", "));
    where.replaceChildren(...parts.filter(([, cost]) => cost > 0).slice(0, 8).map(([, cost]) => {
      const piece = el("span", {});
      piece.style.width = `${(cost / total) * 100}%`;
      return piece;
    }));
    legend.replaceChildren(...parts.slice(0, 8).flatMap(([what, cost]) => [el("dt", {}, what), el("dd", {}, `${usd(cost)}${total ? ` · ${percent(Math.max(0, cost) / total)}` : ""}`)]));
  }

  const stop = watch(() => { if (state.document && !state.gone) head(); load(); });
  const tick = setInterval(() => state.document && !state.gone && head(), 1000);
  load();
  return () => { stop(); clearInterval(tick); };
}

function set(figure, value, note, title) {
  say(figure.value, value);
  say(figure.note, note ?? " ");
  if (title) figure.value.title = title;
}

/** Disjoint tokens out of inclusive totals. */
function tokensOf(entry) {
  const usage = entry.usage ?? {};
  const n = (name) => Number(usage[name] ?? 0);
  return { input: n("input_tokens"), cached: n("cache_read_tokens"), output: n("output_tokens"), reasoning: n("output_reasoning_tokens"), total: n("input_tokens") + n("output_tokens") };
}

function mark(row, id) {
  return el("li", { "data-key": id }, el(`div.event.${row.colour}`, {}, el("time.faint", { dateTime: row.at }, time(row.at)), el("b", {}, row.text)));
}

function call(entry, dearest, id) {
  const tokens = tokensOf(entry);
  const what = entry.kind === "adjustment" ? `${entry.status}: ${entry.model ?? entry.tool ?? ""}` : entry.kind === "model" ? entry.model : entry.tool ?? entry.kind;
  const said = tokens.total ? `${count(tokens.input)} in${tokens.cached ? ` (${count(tokens.cached)} cached)` : ""}, ${count(tokens.output)} out` : entry.mcp_server ?? "";
  const bar = el("span", {});
  bar.style.width = `${(Math.max(0, Number(entry.cost_usd ?? 0)) / dearest) * 100}%`;
  const bad = entry.outcome && entry.outcome !== "ok" ? chip([entry.outcome, entry.outcome === "error" ? "red" : "amber"]) : null;
  const cost = entry.status === "unpriced" ? chip(["unpriced", "amber"]) : usd(entry.cost_usd);
  const details = el("details", { ontoggle: () => details.open && details.childElementCount === 1 && details.append(lines(entry)) },
    el("summary", {}, el("time.faint", { dateTime: entry.time }, time(entry.time)), el("span.quiet.kind", {}, entry.kind), el("span.what", {}, what, " ", el("span.faint", {}, entry.provider ?? ""), " ", bad),
      el("span.num.quiet.tokens", {}, said), el("span.num.cost", { title: exact(entry.cost_usd) }, cost), el("span.running", { "aria-hidden": "true" }, bar)));
  return el("li", { "data-key": id }, details);
}

/** The price lines behind a call: quantity times rate, and the table that they come from. */
function lines(entry) {
  const rows = (entry.lines ?? []).map((line) => el("tr", {}, el("td", {}, line.unit ?? line.key ?? line.what ?? ""), el("td.num", {}, String(line.quantity ?? line.units ?? "")), el("td.num", {}, rate(line)), el("td.num", {}, `${line.amount ?? line.cost ?? line.cost_usd ?? ""}`)));
  const table = entry.price_table;
  const flags = (entry.flags ?? []).length ? el("div.digest", {}, `flags: ${entry.flags.join(", ")}`) : null;
  return el("div.lines", {},
    rows.length ? el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "unit"), el("th.num", {}, "quantity"), el("th.num", {}, "rate"), el("th.num", {}, "USD"))), el("tbody", {}, rows)) : el("p.quiet", {}, entry.status === "unpriced" ? "No price table in force prices this call. It settles by itself when one does." : "No price line: nothing was billed."),
    el("div.digest", {}, `event ${entry.event_id} · entry ${entry.seq}${entry.via ? ` · by ${entry.via}` : ""}`),
    table ? el("div.digest", {}, `${table.name} ${table.version} · sha256 ${table.digest}`) : null, flags);
}

function rate(line) {
  const amount = line.rate ?? line.price ?? "";
  if (typeof amount === "object" && amount) return `${amount.amount ?? amount.price ?? ""} per ${count(Number(amount.per ?? 1))}`;
  return `${amount}${line.per ? ` per ${count(Number(line.per))}` : ""}`;
}
