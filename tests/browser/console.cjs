// Drives the console in Chromium against a running daemon, as the person on call would, and says what it saw as JSON:
// `meterd-browser console.cjs API_URL FOLDER`. Pictures go to FOLDER. Waits for conditions, never for a time.
const { chromium } = require("playwright-core");
const fs = require("node:fs");
const path = require("node:path");

const [api, folder] = process.argv.slice(2);
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const NS = "support";
const MANY = 1000;
const saw = { elsewhere: [], errors: [], pictures: [] };
let number = 0;

async function send(method, where, body) {
  const answer = await fetch(api + where, { method, headers: { "content-type": typeof body === "string" ? "application/yaml" : "application/json" }, body: typeof body === "string" ? body : body && JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${where}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : {};
}
const run = (name, rest = "") => `/v1/namespaces/${NS}/executions/${name}${rest}`;

function call(execution, agent, team, model, input, output, more = {}) {
  number += 1;
  const provider = model.startsWith("claude") ? "anthropic" : model.startsWith("gemini") ? "google" : "openai";
  return { id: `c-${number}`, source: "browser", time: new Date().toISOString(), namespace: NS, execution, agent, team, kind: "model", provider, model, usage: { input_tokens: input, cache_read_tokens: Math.floor(input / 2), output_tokens: output }, ...more };
}
const tool = (execution, agent, team, name) => ({ id: `t-${(number += 1)}`, source: "browser", time: new Date().toISOString(), namespace: NS, execution, agent, team, kind: "tool", tool: name });

async function fleet() {
  await send("POST", "/v1/resources/apply", `
apiVersion: joch.dev/v1alpha1
kind: Budget
metadata: { name: support-daily, namespace: ${NS} }
spec: { scope: { namespaces: [${NS}] }, limits: { dailyUsd: 4, monthlyUsd: 60, tokenLimitDaily: 9000000 }, enforcement: { onSoftLimit: alert, onHardLimit: alert, softLimitPct: 0.8 } }
---
apiVersion: joch.dev/v1alpha1
kind: Budget
metadata: { name: platform-daily, namespace: ${NS} }
spec: { scope: { teams: [platform] }, limits: { dailyUsd: 25 }, enforcement: { onHardLimit: deny, softLimitPct: 0.9 } }
---
apiVersion: joch.dev/v1alpha1
kind: Agent
metadata: { name: research, namespace: ${NS} }
spec: { budgets: { perRunUsd: 2.5, onHardLimit: alert, softLimitPct: 0.5 } }
`);
  const plans = [["triage-1041", "support-triage", "support", "claude-haiku-4-5", 5], ["triage-1042", "support-triage", "support", "claude-haiku-4-5", 3], ["invoice-77", "billing", "finance", "gpt-4o-mini", 9], ["release-notes", "writer", "platform", "gemini-2.5-flash", 6], ["research-wild", "research", "platform", "claude-sonnet-4-5", 8]];
  for (const [name, agent, team, model, calls] of plans) {
    await send("PUT", run(name), { agent, team, environment: "prod" });
    for (let n = 0; n < calls; n += 1) {
      const grown = name === "research-wild" ? 12000 + 9000 * n : 2500 + 600 * n;
      await send("POST", "/v1/usage", [call(name, agent, team, model, grown, 700), ...(n % 3 === 1 ? [tool(name, agent, team, "search_tickets")] : [])]);
    }
  }
  await send("POST", "/v1/usage", [call("invoice-77", "billing", "finance", "gpt-unheard-of", 900, 50)]);
  await send("POST", run("release-notes", "/complete"), { phase: "Succeeded" });
}

async function picture(page, name) {
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  const file = path.join(folder, `${name}.png`);
  await page.screenshot({ path: file });
  saw.pictures.push(name);
}

const cost = (page, name) => page.locator("tr", { has: page.getByRole("link", { name, exact: true }) }).locator("td.cost").getAttribute("title");

async function watchesMoney(page) {
  await page.goto(`${api}/`);
  await page.locator(".runs").getByRole("link", { name: "research-wild", exact: true }).waitFor();
  saw.before = await cost(page, "research-wild");
  await send("POST", "/v1/usage", [call("research-wild", "research", "platform", "claude-sonnet-4-5", 90000, 4000)]);
  await page.waitForFunction(([name, before]) => [...document.querySelectorAll("tr")].some((row) => row.querySelector("a")?.textContent === name && row.querySelector("td.cost").title !== before), ["research-wild", saw.before]);
  saw.after = await cost(page, "research-wild");
  const daily = page.locator("article.budget", { hasText: "support-daily" }).filter({ hasText: "day" }).filter({ hasText: "$" });
  saw.chipBefore = await daily.locator(".chip").textContent();
  await send("POST", "/v1/usage", Array.from({ length: 12 }, () => call("research-wild", "research", "platform", "claude-sonnet-4-5", 120000, 6000)));
  await page.waitForFunction(() => [...document.querySelectorAll("article.budget")].some((card) => card.textContent.includes("support-daily") && card.querySelector(".chip").textContent === "spent"));
  saw.chipAfter = await daily.locator(".chip").textContent();
  saw.meter = await daily.getByRole("meter").getAttribute("aria-valuetext");
  await page.getByText("reached the limit of support-daily").first().waitFor();
}

async function kills(page) {
  const row = page.locator("tr", { has: page.getByRole("link", { name: "research-wild", exact: true }) });
  await row.getByRole("button", { name: "Kill research-wild" }).click();
  await page.getByLabel("Reason").fill("loops over the same page");
  await picture(page, "confirm-light");
  await page.getByRole("button", { name: "Kill run" }).click();
  await row.getByText("Stopping").waitFor();
  // The agent does as it is told.
  const { signals } = await send("GET", run("research-wild", "/signals?wait_seconds=5"));
  await send("POST", run("research-wild", `/signals/${signals[0].id}/ack`), {});
  await send("POST", run("research-wild", "/complete"), { phase: "Cancelled" });
  await page.locator("tr", { has: page.getByRole("link", { name: "research-wild", exact: true }) }).waitFor({ state: "hidden" });
  await page.getByRole("button", { name: "Ended" }).click();
  await page.locator(".runs").getByRole("link", { name: "research-wild", exact: true }).click();
  const record = page.getByRole("region", { name: "Kill record" });
  await record.getByText("confirmed").waitFor();
  saw.record = await record.innerText();
  await page.locator("details").first().click();
  await page.locator(".lines").first().waitFor();
  saw.lines = await page.locator(".lines").first().innerText();
  saw.runTitle = await page.title();
}

async function views(browser) {
  for (const scheme of ["light", "dark"]) {
    for (const [size, width, height] of [["wide", 1360, 900], ["phone", 390, 844]]) {
      const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, deviceScaleFactor: 1 });
      const page = await opened(context);
      for (const [name, hash, ready] of [["fleet", "#/", () => page.locator(".runs").getByRole("link", { name: "triage-1041", exact: true }).waitFor()], ["run", `#/run/${NS}/research-wild`, () => page.locator("ol.calls details").first().waitFor()], ["prices", "#/prices", () => page.getByRole("button", { name: /Rates of/ }).first().waitFor()], ["health", "#/health", () => page.getByText("entries, durable").waitFor()]]) {
        await page.goto(`${api}/${hash}`);
        await ready();
        await page.locator("#link.live").waitFor();
        await picture(page, `${name}-${scheme}-${size}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth + 1);
        if (wide) saw.errors.push(`${name} ${size}: the page scrolls sideways`);
        const cut = name === "fleet" && await page.evaluate(() => [...document.querySelectorAll(".runs tbody tr:not([hidden]) a")].filter((link) => link.textContent && link.getBoundingClientRect().width < 60).length);
        if (cut) saw.errors.push(`${name} ${size}: ${cut} names of runs cannot be read`);
      }
      await context.close();
    }
  }
}

async function keyboard(page) {
  await page.goto(`${api}/#/`);
  await page.locator(".runs").getByRole("link", { name: "triage-1041", exact: true }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("triage");
  await page.waitForFunction(() => [...document.querySelectorAll(".runs tbody tr:not([hidden]) a")].every((link) => link.textContent.includes("triage")));
  await page.keyboard.press("Escape");
  await page.keyboard.press("h");
  await page.getByRole("heading", { name: "Health" }).waitFor();
  await page.keyboard.press("p");
  await page.getByRole("heading", { name: "Prices", exact: true }).waitFor();
  saw.keyboard = true;
  // Everything that can be pressed says what it is.
  saw.nameless = await page.evaluate(() => [...document.querySelectorAll("button, a, input, [role=meter], [role=img]")].filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim() || node.labels?.length)).length);
}

/** A thousand live runs that all move: how long frames take. */
async function crowd(page) {
  for (let first = 0; first < MANY; first += 250) {
    await send("POST", "/v1/usage", Array.from({ length: 250 }, (_, n) => call(`crowd-${first + n}`, `agent-${(first + n) % 40}`, "support", "gpt-4o-mini", 1000 + n, 100)));
  }
  await page.goto(`${api}/#/`);
  await page.reload();
  await page.waitForFunction((many) => Number(document.querySelector(".figure:nth-child(5) p")?.textContent.replace(/\D/g, "")) >= many, MANY);
  await page.evaluate(() => {
    window.seen = { frames: [], long: [] };
    new PerformanceObserver((list) => window.seen.long.push(...list.getEntries().map((entry) => entry.duration))).observe({ entryTypes: ["longtask"] });
    let last = performance.now();
    const frame = (at) => { window.seen.frames.push(at - last); last = at; if (window.seen.frames.length < 600) requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
  });
  for (let round = 0; round < 6; round += 1) {
    for (let first = 0; first < MANY; first += 250) {
      await send("POST", "/v1/usage", Array.from({ length: 250 }, (_, n) => call(`crowd-${first + n}`, `agent-${(first + n) % 40}`, "support", "gpt-4o-mini", 1000 + ((n * 37 + round * 991) % 5000), 100)));
    }
    await page.locator(".runs").evaluate((box, top) => { box.scrollTop = top; }, round * 4000);
  }
  const seen = await page.evaluate(() => window.seen);
  const frames = seen.frames.slice(1).sort((a, b) => a - b);
  saw.crowd = { rows: await page.locator(".runs tbody tr").count(), frames: frames.length, p50: frames[Math.floor(frames.length / 2)], p95: frames[Math.floor(frames.length * 0.95)], worst: frames[frames.length - 1], longTasks: seen.long.length, longest: Math.max(0, ...seen.long) };
  await page.locator(".runs").evaluate((box) => { box.scrollTop = 0; });
  await picture(page, "crowd-light-wide");
}

async function opened(context) {
  const page = await context.newPage();
  page.on("request", (request) => { if (!request.url().startsWith(api) && !request.url().startsWith("data:")) saw.elsewhere.push(request.url()); });
  page.on("console", (message) => { if (message.type() === "error") saw.errors.push(message.text()); });
  page.on("pageerror", (error) => saw.errors.push(String(error)));
  if (process.env.CONSOLE_FILES) {
    await page.route(/\/console\/|\/$/, (route) => {
      const name = new URL(route.request().url()).pathname.replace(/^\/(console\/)?/, "") || "index.html";
      route.fulfill({ path: path.join(process.env.CONSOLE_FILES, name), contentType: { html: "text/html", css: "text/css", js: "text/javascript" }[name.split(".").pop()] });
    });
  }
  return page;
}

async function main() {
  await fleet();
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: FLAGS });
  try {
    const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, colorScheme: "light" });
    context.setDefaultTimeout(30000);
    const page = await opened(context);
    await watchesMoney(page);
    await kills(page);
    await keyboard(page);
    await views(browser);
    await crowd(page);
    await context.close();
  } finally {
    await browser.close();
  }
  fs.writeSync(1, JSON.stringify(saw));
}

main().catch((error) => { fs.writeSync(2, `${error.stack}\nseen so far: ${JSON.stringify(saw)}\n`); process.exit(1); });
