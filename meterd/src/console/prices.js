// Prices in force, table by table, and usage that has none.

import { ask } from "./api.js";
import { count, el, moment, place, say } from "./dom.js";
import { store, watch } from "./store.js";

const MODELS_SHOWN = 200;

export function prices(main) {
  document.title = "Prices · meterd";
  const note = el("span.quiet", {});
  const tables = el("tbody", {});
  const unpriced = el("tbody", {});
  const unpricedNote = el("span.quiet", {});
  const found = el("tbody", {});
  const foundNote = el("span.quiet", {});
  const search = el("input", { type: "search", placeholder: "Find a model  ( / )", "aria-label": "Find a model", oninput: () => models() });
  let known = [];
  const loaded = new Map();
  let open = null;
  const grid = (label, heads, body) => el("div.scroll", {}, el("table.table", { "aria-label": label }, el("thead", {}, el("tr", {}, heads.map(([text, kind]) => el("th", { className: kind ?? "", scope: "col" }, text)))), body));
  main.append(el("div.stack", {}, el("h1", {}, "Prices"),
    el("section.card", { "aria-label": "Usage without a price" }, el("div.head", {}, el("h2", {}, "Usage without a price"), unpricedNote), grid("Usage without a price", [["Time"], ["Model or tool"], ["Execution"], ["Why"]], unpriced)),
    el("section.card", { "aria-label": "Models with a price" }, el("div.head", {}, el("h2", {}, "Models with a price"), foundNote, el("span.grow", {}), search), grid("Models with a price", [["Provider"], ["Model"], ["Table"], ["Rates, USD", "num"]], found)),
    el("section.card", { "aria-label": "Price tables in force" }, el("div.head", {}, el("h2", {}, "Tables in force"), note), grid("Price tables in force", [["Table"], ["Version"], ["Prices", "num"], ["Digest"]], tables))));

  async function load() {
    const answer = await ask("/v1/prices");
    known = answer.tables;
    say(note, `${known.length} tables, ${count(known.reduce((sum, table) => sum + table.entries, 0))} prices; the first one that knows a model prices it`);
    tables.replaceChildren(...known.map((table) => el("tr", {}, el("td", {}, table.name), el("td", {}, table.version), el("td.num", {}, count(table.entries)), el("td", {}, el("code.faint", { title: table.digest }, table.digest.slice(0, 16))))));
    models();
  }

  function models() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [];
    let all = 0;
    for (const table of known) {
      for (const [provider, model] of table.models) {
        const text = `${provider} ${model}`.toLowerCase();
        if (!words.every((word) => text.includes(word))) continue;
        all += 1;
        if (rows.length < MODELS_SHOWN) rows.push([table, provider, model]);
      }
    }
    say(foundNote, `${count(all)} models${all > rows.length ? `, the first ${rows.length} shown` : ""}`);
    found.replaceChildren(...rows.map(([table, provider, model]) => {
      const rates = el("td.num", {});
      const id = `${table.digest}/${provider}/${model}`;
      const button = el("button.button", { type: "button", "aria-label": `Rates of ${model}`, onclick: async () => { open = id; rates.replaceChildren(await ratesOf(table, provider, model)); } }, "Show rates");
      rates.append(button);
      if (open === id) button.click();
      return el("tr", {}, el("td", {}, provider), el("td", {}, model), el("td.faint", {}, `${table.name} ${table.version}`), rates);
    }));
    if (!rows.length) found.append(el("tr", {}, el("td.empty", { colSpan: 4 }, known.length ? "No model fits." : "Loading …")));
  }

  async function ratesOf(table, provider, model) {
    if (!loaded.has(table.digest)) loaded.set(table.digest, ask(`/v1/prices/${table.digest}`));
    const document = await loaded.get(table.digest).catch(() => null);
    const models = document?.models ?? document?.spec?.models ?? [];
    const entry = models.find((candidate) => candidate.provider === provider && candidate.id === model);
    const rates = (entry?.rates ?? []).map((rate) => {
      const from = rate.from ? `from ${rate.from}: ` : "";
      const set = rate.set ?? rate.rates ?? {};
      const per = document?.per ?? document?.spec?.per ?? {};
      const list = Object.entries(set).map(([unit, price]) => `${unit.replaceAll("_", " ")} ${typeof price === "object" ? JSON.stringify(price) : price}`).join(" · ");
      const when = rate.when ? ` when ${JSON.stringify(rate.when)}` : "";
      return el("div", {}, `${from}${list}${when}`, per.tokens ? el("span.faint", {}, ` per ${count(Number(per.tokens))} tokens`) : null);
    });
    return rates.length ? el("div", {}, rates) : el("span.quiet", {}, "see meterd tables show");
  }

  let seen = -1;
  async function quarantine() {
    const waiting = store.health?.unpriced ?? 0;
    if (waiting === seen) return;
    seen = waiting;
    const answer = await ask("/v1/quarantine?limit=100").catch(() => null);
    const rows = answer?.quarantine ?? answer?.items ?? answer?.entries ?? [];
    say(unpricedNote, waiting ? `${count(waiting)} ${waiting === 1 ? "call waits: it settles by itself when a table has its price" : "calls wait: they settle by themselves when a table has their price"}` : "");
    unpriced.replaceChildren(...rows.map((row) => el("tr", {}, el("td", {}, moment(row.time)), el("td", {}, `${row.provider ?? ""} ${row.name ?? ""}`), el("td", {}, el("a", { href: place(row) }, row.execution)), el("td", {}, row.message ?? row.reason))));
    if (!rows.length) unpriced.append(el("tr", {}, el("td.empty", { colSpan: 4 }, waiting ? "They are listed by meterd get quarantine." : "None. Every call has a price.")));
  }

  load().catch((error) => say(note, error.message));
  const update = () => quarantine();
  update();
  return watch(update);
}
