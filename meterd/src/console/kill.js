// Killing a run: asked for by a button, confirmed with a reason, told when it is done.

import { ask } from "./api.js";
import { el } from "./dom.js";

const dialog = document.getElementById("dialog");

export function toast(text) {
  const node = el("div.toast", {}, text);
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), 6000);
}

/** Asks, with the reason, and kills. */
export function confirmKill(target) {
  const reason = el("input", { type: "text", id: "reason", maxLength: 500, required: true, placeholder: "goes into the ledger and to the agent" });
  const error = el("p.error", { role: "alert" });
  const yes = el("button.button.danger", { type: "submit" }, "Kill run");
  const form = el("form", { method: "dialog", onsubmit: submit },
    el("h2", { id: "dialog-title" }, `Kill ${target.name}?`),
    el("p.quiet", {}, `No further call of this run is allowed from now on, and its agent is told to stop. This cannot be taken back.`),
    el("label", { htmlFor: "reason" }, "Reason"), reason, error,
    el("div.row", {}, el("button.button", { type: "button", onclick: () => dialog.close() }, "Cancel"), yes));
  async function submit(event) {
    event.preventDefault();
    yes.disabled = true;
    try {
      const path = `/v1/namespaces/${encodeURIComponent(target.namespace)}/executions/${encodeURIComponent(target.name)}/kill`;
      const { id } = await ask(path, { method: "POST", body: { reason: reason.value.trim() } });
      dialog.close();
      toast(`${target.name} is fenced (${id}).`);
    } catch (refused) {
      error.textContent = refused.status === 401 || refused.status === 403 ? `${refused.message} A token with the role kill is needed.` : refused.message;
      yes.disabled = false;
    }
  }
  dialog.replaceChildren(form);
  dialog.showModal();
  reason.focus();
}
