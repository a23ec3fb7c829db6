// What the page knows: runs, budgets, kills and news out of the stream; spend out of the roll-ups. Views read it and are told
// when it moved, at most once a frame.

import { ask, Stream } from "./api.js";

const NEWS_MAX = 60;
const RUNS_MAX = 4000;
const PACE_WINDOW_S = 900;

const listeners = new Set();
let told = false;

export const store = {
  runs: new Map(),
  budgets: [],
  kills: new Map(),
  news: [],
  health: null,
  live: 0,
  link: "connecting",
  refusal: null,
  /** The daemon's clock less this machine's, in milliseconds. */
  skew: 0,
  spend: null,
  ready: false,
};

export const now = () => Date.now() + store.skew;
export const key = (namespace, name) => `${namespace}/${name}`;

export function watch(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function moved() {
  if (told) return;
  told = true;
  // Hidden pages get no frames, and must not pile up what they will never draw.
  const tell = () => {
    told = false;
    for (const listener of listeners) listener();
  };
  document.hidden ? setTimeout(tell, 500) : requestAnimationFrame(tell);
}

function take(name, data) {
  if (name === "snapshot") {
    store.runs.clear();
    store.kills.clear();
  }
  store.skew = Date.parse(data.now) - Date.now();
  store.live = data.live;
  store.health = data.health;
  for (const run of data.runs) {
    const id = key(run.namespace, run.name);
    const before = store.runs.get(id);
    run.id = id;
    run.value = Number(run.cost);
    run.at = !before ? 0 : before.cost === run.cost ? before.at : Date.now();
    store.runs.delete(id);
    store.runs.set(id, run);
  }
  forget();
  for (const kill of data.kills) store.kills.set(kill.id, kill);
  pace(data.budgets);
  const fresh = data.facts.filter((fact) => fact.what !== "opened");
  store.news = [...fresh, ...(name === "snapshot" ? [] : store.news)].slice(0, NEWS_MAX);
  store.ready = true;
  if (data.runs.length) costs.soon();
  moved();
}

/** Runs that ended longest ago go first; open runs stay. */
function forget() {
  if (store.runs.size <= RUNS_MAX) return;
  for (const [id, run] of store.runs) {
    if (run.ended) store.runs.delete(id);
    if (store.runs.size <= RUNS_MAX) return;
  }
}

const history = new Map();
/** Each budget's pace: over what was seen in the last quarter of an hour, else over its window so far. */
function pace(budgets) {
  const at = now() / 1000;
  for (const budget of budgets) {
    const unit = { usd: "Usd", tokens: "Tokens", toolCalls: "ToolCalls", modelCalls: "ModelCalls" }[budget.unit];
    for (const figure of ["limit", "spent", "held", "remaining"]) budget[figure] = Number(budget[figure + unit]);
    budget.id = [budget.source, budget.namespace, budget.name, budget.window, budget.unit, budget.agent ?? ""].join("/");
    const start = Date.parse(budget.windowStart) / 1000;
    const seen = (history.get(budget.id) ?? []).filter(([t]) => t > at - PACE_WINDOW_S && t >= start);
    if (!seen.length || seen[seen.length - 1][0] < at - 4) seen.push([at, budget.spent]);
    history.set(budget.id, seen);
    const [first, before] = seen[0];
    const long = at - first >= 60;
    budget.perSecond = long ? Math.max(0, budget.spent - before) / (at - first) : at > start ? budget.spent / (at - start) : 0;
    budget.resets = Date.parse(budget.resetsAt) / 1000 - at;
    const left = Math.max(0, budget.limit - budget.spent - budget.held);
    budget.lasts = left === 0 ? 0 : budget.perSecond > 0 ? left / budget.perSecond : Infinity;
    budget.share = budget.limit > 0 ? budget.spent / budget.limit : budget.spent > 0 ? 1 : 0;
    budget.softest = Math.min(1, ...budget.soft.map(Number));
  }
  store.budgets = budgets.sort((a, b) => b.share - a.share || a.id.localeCompare(b.id));
}

/** Spend of the month so far by hour: the roll-ups' own exact sums. */
const costs = {
  timer: null,
  asked: 0,
  soon() {
    if (costs.timer) return;
    costs.timer = setTimeout(costs.ask, Math.max(0, costs.asked + 2000 - Date.now()));
  },
  async ask() {
    costs.asked = Date.now();
    const at = new Date(now());
    const month = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), 1)).toISOString();
    const yesterday = new Date(at.getTime() - 23 * 3600e3).toISOString();
    try {
      const [total, hours, hour] = await Promise.all([
        ask(`/v1/cost?by=namespace&bucket=day&since=${month}`),
        ask(`/v1/cost?by=namespace&bucket=hour&since=${yesterday}`),
        ask("/v1/cost?by=namespace&since=1h"),
      ]);
      store.spend = summed(total, hours, hour, at);
    } catch (error) {
      store.spend = { error: error.message };
    }
    costs.timer = setTimeout(costs.ask, 30000);
    moved();
  },
};

function summed(total, hours, hour, at) {
  const byBucket = (answer) => {
    const sums = new Map();
    for (const row of answer.rows) sums.set(Date.parse(row.bucket), (sums.get(Date.parse(row.bucket)) ?? 0) + Number(row.cost_usd));
    return sums;
  };
  const today = byBucket(total).get(Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate())) ?? 0;
  const sums = byBucket(hours);
  const last = Math.floor(at.getTime() / 3600e3) * 3600e3;
  const series = Array.from({ length: 24 }, (_, n) => [last - (23 - n) * 3600e3, sums.get(last - (23 - n) * 3600e3) ?? 0]);
  const start = Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), 1);
  const end = Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 1);
  const month = Number(total.total.cost_usd);
  const pace = Number(hour.total.cost_usd);
  // The rest of the month at the pace of the month so far, or of the last day when the month has hardly begun.
  const spent = series.reduce((sum, [, cost]) => sum + cost, 0);
  const gone = at.getTime() - start;
  const rate = gone > 3 * 86400e3 ? month / gone : spent / Math.min(gone, 24 * 3600e3);
  return { hour: pace, today, month, monthText: total.total.cost_usd, projected: month + rate * (end - at.getTime()), series };
}

export const stream = new Stream("/v1/events", {
  event: take,
  state(state, error) {
    store.link = state;
    store.refusal = error?.status ? error : null;
    if (state === "live") costs.soon();
    moved();
  },
});
