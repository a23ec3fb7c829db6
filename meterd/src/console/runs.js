// The table of runs: sorted, filtered, and only the rows in sight are there, so that thousands cost no more than twenty.

import { chip, count, el, exact, moment, place, say, span, standing, usd } from "./dom.js";
import { confirmKill } from "./kill.js";
import { now, store } from "./store.js";

const AROUND = 6;
const COLUMNS = [
  ["name", "Execution", "", (run) => run.name],
  ["agent", "Agent", "wide", (run) => run.agent ?? ""],
  ["team", "Team", "wide", (run) => run.team ?? ""],
  ["state", "State", "", (run) => standing(run)[0]],
  ["calls", "Calls", "num wide", (run) => run.calls + run.tools],
  ["tokens", "Tokens", "num wide", (run) => run.tokens],
  ["age", "Running", "num wide", (run) => -Date.parse(run.started)],
  ["cost", "Cost", "num", (run) => run.value],
];
const WIDTHS = ["", "15%", "12%", "112px", "82px", "92px", "104px", "118px", "74px"];

export function runs(isWanted) {
  let sort = ["cost", -1];
  let text = "";
  let shown = [];
  const heads = COLUMNS.map(([name, label, classes]) => {
    const button = el("button", { type: "button", onclick: () => order(name) }, label);
    return el("th", { className: classes, scope: "col", "data-name": name }, button);
  });
  // One cell: a span over columns that a phone hides would bring them back, empty.
  const [top, bottom] = [0, 1].map(() => el("tr.pad", { "aria-hidden": "true" }, el("td", {})));
  const body = el("tbody", {}, top, bottom);
  const columns = el("colgroup", {}, WIDTHS.map((width, n) => {
    const column = el("col", { className: n < 8 && COLUMNS[n][2].includes("wide") ? "wide" : "" });
    column.style.width = width;
    return column;
  }));
  const table = el("table.table", { "aria-label": "Executions" }, columns, el("thead", {}, el("tr", {}, heads, el("th", { scope: "col" }, el("span.visually-hidden", {}, "Kill")))), body);
  const empty = el("div.empty", {}, "");
  const box = el("div.runs", { tabIndex: -1, onscroll: draw }, table, empty);
  const pool = [];

  function order(name) {
    sort = sort[0] === name ? [name, -sort[1]] : [name, ["name", "agent", "team", "state"].includes(name) ? 1 : -1];
    update();
    box.scrollTop = 0;
  }

  function update() {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const value = COLUMNS.find(([name]) => name === sort[0])[3];
    shown = [];
    for (const run of store.runs.values()) {
      if (!isWanted(run)) continue;
      const all = words.length ? `${run.name} ${run.namespace} ${run.agent ?? ""} ${run.team ?? ""} ${standing(run)[0]}`.toLowerCase() : "";
      if (words.every((word) => all.includes(word))) shown.push(run);
    }
    shown.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return (x < y ? -1 : x > y ? 1 : a.id < b.id ? -1 : 1) * sort[1];
    });
    for (const head of heads) {
      const mine = head.dataset.name === sort[0];
      mine ? head.setAttribute("aria-sort", sort[1] > 0 ? "ascending" : "descending") : head.removeAttribute("aria-sort");
    }
    table.hidden = shown.length === 0;
    empty.hidden = shown.length > 0;
    say(empty, !store.ready ? "Waiting for the daemon …" : words.length ? "No execution fits the search." : "No executions here. They appear with their first call.");
    draw();
  }

  function row() {
    const link = el("a", {});
    const where = el("span.where", {});
    const kill = el("button.kill", { type: "button" }, "Kill");
    const cells = ["", "wide", "wide", "", "num wide", "num wide", "num wide", "num cost", "num"].map((classes) => el("td", { className: classes }));
    cells[0].append(link, " ", where);
    cells[8].append(kill);
    const line = el("tr", {}, cells);
    const made = { line, cells, link, where, kill, run: null, state: "" };
    kill.addEventListener("click", () => made.run && confirmKill(made.run));
    return made;
  }

  function fill(made, run) {
    made.run = run;
    say(made.link, run.name);
    made.link.href = place(run);
    say(made.where, run.namespace);
    say(made.cells[1], run.agent ?? "–");
    say(made.cells[2], run.team ?? "–");
    const stand = standing(run);
    if (made.state !== stand.join()) {
      made.state = stand.join();
      made.cells[3].replaceChildren(chip(stand));
    }
    say(made.cells[4], count(run.calls + run.tools));
    say(made.cells[5], count(run.tokens));
    say(made.cells[6], run.ended ? moment(run.ended) : span((now() - Date.parse(run.started)) / 1000));
    say(made.cells[7], usd(run.cost));
    made.cells[7].title = exact(run.cost);
    made.line.classList.toggle("ticked", !run.ended && Date.now() - run.at < 1200);
    const open = !run.ended;
    made.kill.hidden = !open || Boolean(run.kill);
    made.kill.setAttribute("aria-label", `Kill ${run.name}`);
  }

  function draw() {
    const height = matchMedia("(max-width: 760px)").matches ? 52 : 41;
    const first = Math.max(0, Math.floor(box.scrollTop / height) - AROUND);
    const rows = Math.ceil((box.clientHeight || 620) / height) + 2 * AROUND;
    const part = shown.slice(first, first + rows);
    while (pool.length < part.length) {
      const made = row();
      pool.push(made);
      body.insertBefore(made.line, bottom);
    }
    pool.forEach((made, n) => {
      made.line.hidden = n >= part.length;
      if (n < part.length) fill(made, part[n]);
    });
    top.firstChild.style.height = `${first * height}px`;
    bottom.firstChild.style.height = `${Math.max(0, shown.length - first - part.length) * height}px`;
  }

  return { node: box, update, search: (value) => { text = value; update(); }, count: () => shown.length };
}
