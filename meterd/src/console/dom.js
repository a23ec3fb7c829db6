// Elements, figures and times as text. Text is only ever set as text: nothing from the API becomes markup.

/** An element: `el("td.num", { title: "…" }, "text", child, null)`. */
export function el(shape, props, ...children) {
  const [tag, ...classes] = shape.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && key !== "list") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** Sets text only when it differs, so that nothing is drawn for nothing. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const money = [0, 2, 4].map((digits) => new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", minimumFractionDigits: digits, maximumFractionDigits: digits }));
/** US dollars for the eye: more places for small amounts. The exact amount is in the title. */
export function usd(text) {
  const value = Number(text ?? 0);
  const size = Math.abs(value);
  return (size >= 10000 ? money[0] : size >= 1 || size === 0 ? money[1] : money[2]).format(value);
}
export const exact = (text) => `${text ?? "0"} USD`;

const whole = new Intl.NumberFormat("en-US");
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
export const count = (value) => (Math.abs(value ?? 0) >= 100000 ? short.format(value) : whole.format(value ?? 0));
export const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;

/** A span of time in two units at most. */
export function span(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${String(s % 60).padStart(2, "0")}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
}
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
export const time = (text) => (text ? clock.format(new Date(text)) : "–");
export const moment = (text) => (text ? day.format(new Date(text)) : "–");

export const place = (run) => `#/run/${encodeURIComponent(run.namespace)}/${encodeURIComponent(run.name ?? run.execution)}`;

/** How a run stands, as a word and a colour. */
export function standing(run) {
  if (run.phase === "Succeeded") return ["Succeeded", "green"];
  if (run.phase === "Failed") return ["Failed", "red"];
  if (run.phase === "Cancelled") return run.kill ? ["Killed", "red"] : ["Cancelled", ""];
  if (run.kill === "wind_down") return ["Winding down", "amber"];
  if (run.kill === "unreachable") return ["Unreachable", "red"];
  if (run.kill) return ["Stopping", "red"];
  if (run.hard) return ["Over limit", "red"];
  if (run.soft) return ["Warned", "amber"];
  return ["Running", "blue"];
}
export const chip = ([word, colour]) => el(colour ? `span.chip.${colour}` : "span.chip", {}, word);
