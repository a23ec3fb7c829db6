// Is the daemon well: ledger, queue, followers, prices, kills, and what it warns of.

import { chip, count, el, moment, percent, place, say, span, time } from "./dom.js";
import { now, store, watch } from "./store.js";

export function health(main) {
  document.title = "Health · meterd";
  const checks = el("ul.checks", {});
  const kills = el("tbody", {});
  const killNote = el("span.quiet", {});
  main.append(el("div.stack", {}, el("h1", {}, "Health"),
    el("section.card", { "aria-label": "Parts of the daemon" }, el("div.head", {}, el("h2", {}, "The daemon")), checks),
    el("section.card", { "aria-label": "Kills" }, el("div.head", {}, el("h2", {}, "Kills"), killNote),
      el("div.scroll", {}, el("table.table", { "aria-label": "Kills" }, el("thead", {}, el("tr", {}, ["Decided", "Execution", "State", "Why", "Answered after"].map((text) => el("th", { scope: "col" }, text)))), kills)))));

  function update() {
    const known = store.health;
    if (!known) {
      checks.replaceChildren(el("li.empty", {}, "Waiting for the daemon …"));
      return;
    }
    const fill = known.queue.capacity ? known.queue.depth / known.queue.capacity : 0;
    const rows = [
      ["Ledger", known.ledger === "up", known.ledger === "up" ? `${count(known.entries)} entries, durable` : `${known.ledger}: nothing more is taken until the daemon is restarted`],
      ["Queue", fill < 0.8, `${count(known.queue.depth)} of ${count(known.queue.capacity)} places taken (${percent(fill)})`],
      ["Live view", known.behind.view < 1000, known.behind.view ? `${count(known.behind.view)} entries behind the ledger` : "up to the newest entry"],
      ["Metrics", known.behind.metrics < 1000, known.behind.metrics ? `${count(known.behind.metrics)} entries behind the ledger` : "up to the newest entry"],
      ["Prices", known.tables > 0, `${count(known.tables)} tables, ${count(known.prices)} prices in force`],
      ["Unpriced usage", known.unpriced === 0, known.unpriced ? `${count(known.unpriced)} ${known.unpriced === 1 ? "call has" : "calls have"} no price and ${known.unpriced === 1 ? "counts" : "count"} for no budget` : "none"],
      ["Open to all", !known.open, known.open ? "no token is asked for: whoever reaches this address may read and kill" : "a token is asked for"],
      ...Object.entries(known.warnings).map(([part, why]) => [part, false, why]),
      ["Version", true, `meterd ${known.version}, up ${span((now() - Date.parse(known.started)) / 1000)}`],
    ];
    const mild = ["Open to all", "Unpriced usage"];
    const mark = (ok, name) => el(ok ? "span.ok" : mild.includes(name) ? "span.look" : "span.bad", { "aria-hidden": "true" }, ok ? "●" : "▲");
    checks.replaceChildren(...rows.map(([name, ok, text]) => el("li", {}, mark(ok, name), el("b", {}, name), el("span.grow.quiet", {}, text), ok ? el("span.visually-hidden", {}, "well") : chip(["look", mild.includes(name) ? "amber" : "red"]))));
    const all = [...store.kills.values()].sort((a, b) => Date.parse(b.decidedAt) - Date.parse(a.decidedAt));
    say(killNote, all.length ? `${count(all.length)} newest` : "");
    kills.replaceChildren(...all.map((kill) => {
      const answered = kill.ackedAt ?? kill.confirmedAt;
      return el("tr", {}, el("td", { title: moment(kill.decidedAt) }, time(kill.decidedAt)), el("td", {}, el("a", { href: place(kill) }, kill.execution)), el("td", {}, chip([kill.state, kill.state === "confirmed" || kill.state === "acked" ? "green" : kill.state === "moot" ? "" : "red"])),
        el("td", {}, kill.message), el("td", {}, answered ? `${((Date.parse(answered) - Date.parse(kill.decidedAt)) / 1000).toFixed(3)} s` : "–"));
    }));
    if (!all.length) kills.append(el("tr", {}, el("td.empty", { colSpan: 5 }, "No run was killed.")));
  }
  update();
  const stop = watch(update);
  return stop;
}
