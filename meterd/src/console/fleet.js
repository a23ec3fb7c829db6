// The fleet now: what it spends, its budgets, its runs, what happened last.

import { chip, count, el, exact, percent, place, say, span, svg, time, usd } from "./dom.js";
import { runs } from "./runs.js";
import { store, watch } from "./store.js";

const SHOWN = [["live", "Live", (run) => !run.ended], ["ended", "Ended", (run) => Boolean(run.ended)], ["all", "All", () => true]];
const BUDGETS_SHOWN = 12;

export function fleet(main) {
  document.title = "meterd";
  const figures = ["Spend per hour", "Today", "Month to date", "Projected", "Live executions", "Unpriced calls"].map((label) => {
    const [value, note] = [el("p", {}, "–"), el("small", {}, " ")];
    return { node: el("section.card.figure", { "aria-label": label }, el("h2", {}, label), value, note), value, note };
  });
  const hours = el("div", {});
  const budgets = el("div.budgets", {});
  const budgetNote = el("span.quiet", {});
  const allBudgets = el("button.button", { type: "button", onclick: () => { everyBudget = !everyBudget; update(); } });
  let everyBudget = false;
  let which = SHOWN[0];
  const table = runs((run) => which[2](run));
  const tabs = SHOWN.map((shown) => el("button", { type: "button", onclick: () => { which = shown; update(); } }, shown[1]));
  const search = el("input", { type: "search", placeholder: "Search  ( / )", "aria-label": "Search executions", oninput: () => table.search(search.value) });
  const runNote = el("span.quiet", {});
  const news = el("ul.news", {});
  main.append(el("div.stack.fleet", {},
    el("h1.visually-hidden", {}, "Fleet"),
    el("div.figures", {}, figures.map((figure) => figure.node)),
    el("section.card", { "aria-label": "Budgets" }, el("div.head", {}, el("h2", {}, "Budgets"), budgetNote, el("span.grow", {}), allBudgets), budgets),
    el("section.card", { "aria-label": "Executions" }, el("div.head", {}, el("h2", {}, "Executions"), el("div.tabs", { role: "group", "aria-label": "Which executions" }, tabs), runNote, el("span.grow", {}), search), table.node),
    el("div.two", {}, el("section.card.hours", { "aria-label": "Spend of the last 24 hours" }, hours),
      el("section.card", { "aria-label": "What happened last" }, el("div.head", {}, el("h2", {}, "What happened")), news))));

  function update() {
    const spend = store.spend && !store.spend.error ? store.spend : null;
    set(figures[0], spend ? usd(spend.hour) : "–", "the last 60 minutes");
    set(figures[1], spend ? usd(spend.today) : "–", "since midnight UTC");
    set(figures[2], spend ? usd(spend.month) : "–", new Date(Date.now() + store.skew).toLocaleDateString("en-GB", { month: "long", timeZone: "UTC" }), spend && exact(spend.monthText));
    set(figures[3], spend ? usd(spend.projected) : "–", "the month, at this pace");
    set(figures[4], count(store.live), "runs that may spend now");
    const unpriced = store.health?.unpriced ?? 0;
    set(figures[5], count(unpriced), unpriced ? "not in any cost or budget" : "everything has a price", null, unpriced ? "amber" : "");
    drawHours(hours, spend);
    drawBudgets();
    tabs.forEach((tab, n) => tab.setAttribute("aria-pressed", SHOWN[n] === which));
    table.update();
    say(runNote, which[0] === "live" && store.live > table.count() && !search.value ? `${count(table.count())} of ${count(store.live)}` : count(table.count()));
    drawNews(news);
  }

  function drawBudgets() {
    const part = everyBudget ? store.budgets : store.budgets.slice(0, BUDGETS_SHOWN);
    const over = store.budgets.filter((budget) => budget.share >= 1).length;
    say(budgetNote, store.budgets.length ? `${store.budgets.length} windows${over ? `, ${over} spent` : ""}` : "");
    allBudgets.hidden = store.budgets.length <= BUDGETS_SHOWN;
    say(allBudgets, everyBudget ? "Show the fullest" : "Show all");
    const known = new Map([...budgets.children].map((node) => [node.dataset.id, node]));
    const nodes = part.map((budget) => fillBudget(known.get(budget.id) ?? newBudget(budget), budget));
    if (!nodes.length) nodes.push(el("div.empty", {}, "No budget is in force. Apply one: meterd apply -f BUDGET.yaml"));
    if (nodes.length !== budgets.children.length || nodes.some((node, n) => budgets.children[n] !== node)) budgets.replaceChildren(...nodes);
  }

  update();
  const stop = watch(update);
  const tick = setInterval(update, 1000);
  return () => { stop(); clearInterval(tick); };
}

function set(figure, value, note, title, colour) {
  say(figure.value, value);
  say(figure.note, note);
  figure.value.title = title ?? "";
  figure.node.classList.toggle("amber", colour === "amber");
}

const UNITS = { usd: usd, tokens: (value) => `${count(value)} tokens`, toolCalls: (value) => `${count(value)} tool calls`, modelCalls: (value) => `${count(value)} calls` };

function newBudget(budget) {
  const part = (name) => el(`dd.${name}`, {});
  const node = el("article.budget", { "data-id": budget.id },
    el("header", {}, el("h3", {}), el("span.faint", {}), el("span.chip", {})),
    el("div.amounts", {}, el("span", {}, el("b", {}), el("span.quiet.of", {})), el("span.quiet.share", {})),
    el("div.meter", { role: "meter", "aria-valuemin": 0 }, el("span.spent", {}), el("span.held", {})),
    el("dl", {}, el("div", {}, el("dt", {}, "held"), part("heldText")), el("div", {}, el("dt", {}, "lasts"), part("lasts")), el("div", {}, el("dt", {}, "resets in"), part("resets"))));
  for (const level of budget.soft) {
    const mark = el("i", {});
    mark.style.left = `${Number(level) * 100}%`;
    node.querySelector(".meter").append(mark);
  }
  return node;
}

function fillBudget(node, budget) {
  const find = (selector) => node.querySelector(selector);
  const show = UNITS[budget.unit];
  const colour = budget.share >= 1 ? "red" : budget.share >= budget.softest ? "amber" : "";
  say(find("h3"), budget.source === "Agent" ? `agent/${budget.name}` : budget.name);
  find("h3").title = `${budget.namespace}/${budget.name}`;
  say(find("header .faint"), `${budget.namespace} · ${budget.window}${budget.agent ? ` · ${budget.agent}` : ""}`);
  const chipNode = find(".chip");
  chipNode.className = `chip ${colour}`;
  say(chipNode, budget.share >= 1 ? { alert: "spent", deny: "spent: denying", terminate: "spent: killing" }[budget.action] ?? "spent" : budget.share >= budget.softest ? "warned" : budget.action ?? "");
  say(find("b"), show(budget.spent));
  say(find(".of"), ` of ${show(budget.limit)}`);
  say(find(".share"), percent(budget.share));
  const meter = find(".meter");
  meter.className = `meter ${colour}`;
  meter.setAttribute("aria-label", `${budget.name}, ${budget.window}: spent`);
  meter.setAttribute("aria-valuemax", budget.limit);
  meter.setAttribute("aria-valuenow", Math.min(budget.spent, budget.limit));
  meter.setAttribute("aria-valuetext", `${show(budget.spent)} of ${show(budget.limit)}`);
  find(".spent").style.width = `${Math.min(1, budget.share) * 100}%`;
  find(".held").style.width = `${Math.max(0, Math.min(1 - Math.min(1, budget.share), budget.held / budget.limit || 0)) * 100}%`;
  say(find(".heldText"), show(budget.held));
  const lasts = find(".lasts");
  const soon = budget.lasts < budget.resets;
  say(lasts, budget.share >= 1 ? "spent" : soon ? span(budget.lasts) : "the window");
  lasts.className = `lasts ${budget.share >= 1 || (soon && budget.lasts < 3600) ? "red" : soon ? "amber" : ""}`;
  say(find(".resets"), span(budget.resets));
  return node;
}

let drawn = null;
function drawHours(box, spend) {
  if (!spend) return;
  if (drawn === spend.series && box.childElementCount) return;
  drawn = spend.series;
  const most = Math.max(...spend.series.map(([, cost]) => cost), 1e-9);
  const bars = spend.series.map(([at, cost], n) => {
    const high = cost > 0 ? Math.max(1.5, (cost / most) * 54) : 0;
    const bar = svg("rect", { x: n * 10 + 1, y: 56 - high, width: 8, height: high, rx: 1.5, class: n === 23 ? "now" : "" });
    bar.append(svg("title", {}, `${new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })}: ${usd(cost)}`));
    return bar;
  });
  const chart = svg("svg", { viewBox: "0 0 240 56", preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": `Spend of each of the last 24 hours, at most ${usd(most)}` }, ...bars);
  const hour = (at) => new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  box.replaceChildren(el("div.head", {}, el("h2", {}, "Last 24 hours"), el("span.quiet", {}, `at most ${usd(most)} in an hour`)), chart,
    el("div.axis", {}, el("span", {}, hour(spend.series[0][0])), el("span", {}, hour(spend.series[12][0])), el("span", {}, "now")));
}

const SAID = {
  ended: (fact) => [fact.phase.toLowerCase(), { Succeeded: "green", Failed: "red", Cancelled: "" }[fact.phase], "ended"],
  warned: (fact) => ["warned", "amber", `passed ${percent(Number(fact.data?.level ?? 0))} of ${fact.data?.budget?.name ?? "a budget"} (${fact.data?.budget?.window ?? ""})`],
  reached: (fact) => ["limit", "red", `reached the limit of ${fact.data?.budget?.name ?? "a budget"} (${fact.data?.budget?.window ?? ""})`],
  killed: (fact) => ["killed", "red", fact.data?.message ?? ""],
  wind_down: (fact) => ["winding down", "amber", fact.data?.message ?? "has one bounded turn left"],
  fenced: (fact) => ["fenced", "red", fact.data?.message ?? "nothing more is allowed"],
  kill_escalated: () => ["escalated", "amber", "a channel did not do; the next one is tried"],
  kill_manual: () => ["help", "red", "no channel reaches it: stop it by hand"],
  kill_sent: (fact) => ["signal", "amber", `kill sent by ${fact.channel}`],
  kill_acked: () => ["answered", "green", "the agent acknowledged its kill"],
  kill_confirmed: () => ["gone", "green", "proven to have stopped"],
  applied: (fact) => ["applied", "blue", `${fact.kind} ${fact.namespace}/${fact.name}`],
  removed: (fact) => ["removed", "", `${fact.kind} ${fact.namespace}/${fact.name}`],
};

let newest = null;
function drawNews(list) {
  if (newest === store.news && list.childElementCount) return;
  newest = store.news;
  if (!store.news.length) {
    list.replaceChildren(el("li.empty", {}, "Nothing yet. Ends, warnings, limits and kills are told here."));
    return;
  }
  list.replaceChildren(...store.news.slice(0, 40).map((fact) => {
    const [word, colour, text] = (SAID[fact.what] ?? (() => [fact.what, "", ""]))(fact);
    const run = fact.execution ? [el("a", { href: place(fact) }, fact.execution), " "] : [];
    return el("li", {}, el("time.faint", { dateTime: fact.at }, time(fact.at)), chip([word, colour]), el("span.text", {}, run, text));
  }));
}
