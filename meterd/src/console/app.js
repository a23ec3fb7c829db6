// The frame: which view is shown, the link to the daemon, theme, token, the dialog to kill a run, keys.

import { token } from "./api.js";
import { el, say, svg } from "./dom.js";
import { store, stream, watch } from "./store.js";
import { fleet } from "./fleet.js";
import { run } from "./run.js";
import { prices } from "./prices.js";
import { health } from "./health.js";

const main = document.getElementById("main");
const dialog = document.getElementById("dialog");
const VIEWS = { "": fleet, run, prices, health };
let close = null;

function route() {
  const [view, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  close?.();
  main.replaceChildren();
  const make = VIEWS[view] ?? fleet;
  document.querySelectorAll("nav a").forEach((link) => {
    const here = link.dataset.view === (view === "run" || view === "" ? "fleet" : view);
    here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  });
  close = make(main, rest);
  scrollTo(0, 0);
}

function frame() {
  const link = document.getElementById("link");
  const words = { live: "Live", lost: "Reconnecting", connecting: "Connecting" };
  link.className = `link ${store.link}`;
  say(link.querySelector("b"), words[store.link]);
  const alarm = document.getElementById("alarm");
  const why = troubles();
  alarm.hidden = !why;
  say(alarm, why);
}

/** What the person on call must know on every page. */
function troubles() {
  if (store.refusal?.status === 401) return "This daemon wants to know who you are: set an access token (key button, top right).";
  if (store.refusal) return store.refusal.message;
  if (store.health && store.health.ledger !== "up") return `The ledger is ${store.health.ledger.replace("_", " ")}: no usage is taken, nothing is enforced. Restart the daemon when the disk is well.`;
  const open = [...store.kills.values()].filter((kill) => !["acked", "confirmed", "moot"].includes(kill.state) && Date.now() + store.skew - Date.parse(kill.decidedAt) > 30000);
  if (open.length) return `${open.length === 1 ? "A kill has" : `${open.length} kills have`} had no answer for 30 seconds: ${open.slice(0, 3).map((kill) => kill.execution).join(", ")}`;
  return "";
}

function askToken() {
  const field = el("input", { type: "password", id: "secret", autocomplete: "off", value: token.get(), placeholder: "none" });
  const form = el("form", { method: "dialog", onsubmit: (event) => {
    event.preventDefault();
    token.set(field.value.trim());
    dialog.close();
    stream.restart();
    route();
  } },
    el("h2", { id: "dialog-title" }, "Access token"),
    el("p.quiet", {}, "Kept in this tab until it is closed. Reading needs the role read, killing needs kill."),
    el("label", { htmlFor: "secret" }, "Token"), field,
    el("div.row", {}, el("button.button", { type: "button", onclick: () => dialog.close() }, "Cancel"), el("button.button.primary", { type: "submit" }, "Use")));
  dialog.replaceChildren(form);
  dialog.showModal();
  field.focus();
}

const icon = (...paths) => svg("svg", { viewBox: "0 0 20 20", width: 18, height: 18, "aria-hidden": "true", fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linecap": "round", "stroke-linejoin": "round" }, ...paths.map((d) => svg("path", { d })));
const SIGNS = {
  system: ["M3 4h14v9H3z", "M7.5 16.5h5"],
  light: ["M10 6.6a3.4 3.4 0 1 0 0 6.8 3.4 3.4 0 0 0 0-6.8", "M10 2.2v1.6M10 16.2v1.6M2.2 10h1.6M16.2 10h1.6M4.5 4.5l1.1 1.1M14.4 14.4l1.1 1.1M4.5 15.5l1.1-1.1M14.4 5.6l1.1-1.1"],
  dark: ["M16.4 11.9A6.8 6.8 0 0 1 8.1 3.6a6.8 6.8 0 1 0 8.3 8.3z"],
  token: ["M12.6 3a4.4 4.4 0 1 0 0 8.8 4.4 4.4 0 0 0 0-8.8", "M9.5 10.5 3.2 16.8M5.4 14.6l1.8 1.8"],
};
function theme(next) {
  const themes = ["system", "light", "dark"];
  let mine = localStorage.getItem("meterd-theme") ?? "system";
  if (next) {
    mine = themes[(themes.indexOf(mine) + 1) % 3];
    localStorage.setItem("meterd-theme", mine);
  }
  mine === "system" ? delete document.documentElement.dataset.theme : (document.documentElement.dataset.theme = mine);
  const button = document.getElementById("theme");
  button.replaceChildren(icon(...(SIGNS[mine] ?? SIGNS.system)));
  button.setAttribute("aria-label", `Colour theme: ${mine}`);
  button.title = `Colour theme: ${mine}`;
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape" && typing) return typing.blur();
  if (typing) return;
  const go = { f: "#/", p: "#/prices", h: "#/health" }[event.key];
  if (go) location.hash = go;
  if (event.key === "/") {
    const search = document.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
  if (event.key === "t") theme(true);
}

document.getElementById("theme").addEventListener("click", () => theme(true));
const tokenButton = document.getElementById("token");
tokenButton.replaceChildren(icon(...SIGNS.token));
tokenButton.title = "Access token";
tokenButton.addEventListener("click", askToken);
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
addEventListener("keydown", keys);
addEventListener("hashchange", route);
theme(false);
watch(frame);
route();
