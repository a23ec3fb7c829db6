// Questions to the daemon, and its stream of events. The token, if one is needed, stays in this tab.

const KEY = "meterd-token";
export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the daemon answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "";
  }
}

function headers(more) {
  const mine = token.get();
  return mine ? { ...more, authorization: `Bearer ${mine}` } : more;
}

export async function ask(path, { method = "GET", body, signal } = {}) {
  const sent = body === undefined ? {} : { "content-type": "application/json" };
  const answer = await fetch(path, { method, headers: headers(sent), body: body === undefined ? undefined : JSON.stringify(body), signal, cache: "no-store" });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok && path !== "/readyz") throw new Refused(answer.status, found);
  return found;
}

/** Server-sent events over fetch, so that the token is a header and never a part of an address. Comes back by itself. */
export class Stream {
  constructor(path, on) {
    this.path = path;
    this.on = on;
    this.last = null;
    this.stopped = new AbortController();
    this.run();
  }

  async run() {
    let wait = 500;
    while (!this.stopped.signal.aborted) {
      try {
        const more = this.last === null ? {} : { "last-event-id": this.last };
        const answer = await fetch(this.path, { headers: headers({ accept: "text/event-stream", ...more }), signal: this.stopped.signal, cache: "no-store" });
        if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
        this.on.state("live");
        wait = 500;
        await this.read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
        this.on.state("lost");
      } catch (error) {
        if (this.stopped.signal.aborted) return;
        this.on.state("lost", error);
      }
      await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(wait * 2, 8000);
    }
  }

  async read(reader) {
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      let end;
      while ((end = text.indexOf("\n\n")) >= 0) {
        this.take(text.slice(0, end));
        text = text.slice(end + 2);
      }
    }
  }

  take(block) {
    const fields = { event: "message", data: "" };
    for (const line of block.split("\n")) {
      const at = line.indexOf(":");
      if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).trimStart();
    }
    if (!fields.data) return;
    if (fields.id) this.last = fields.id;
    this.on.event(fields.event, JSON.parse(fields.data));
  }

  /** Forgets where it was and starts over, with the token of now. */
  restart() {
    this.stop();
    this.stopped = new AbortController();
    this.last = null;
    this.run();
  }

  stop() {
    this.stopped.abort();
  }
}
