// <feedback-buttons token="...">: thumbs for one answer. All about it: docs/browser.md.
(() => {
  "use strict";
  const NAME = "feedback-buttons";
  if (customElements.get(NAME)) return;

  // an image may have that name; a module has none
  const HERE = Reflect.get(Document.prototype, "currentScript", document)?.src ?? location.href;
  const KNOWN = "thumbstream:known";
  const EVENT = "thumbstream:event:";
  const MAX_WAITING = 50; // events; a click beyond them fails at once
  const MAX_KNOWN = 200; // answers whose vote is remembered
  const MAX_AGE = 31 * 864e5; // ms; no token lives longer
  const TRY = 15e3; // ms for one try
  const PAUSE = 60e3; // ms between two tries, at most
  const TEXTS = {
    group: "Rate this answer",
    up: "Good answer",
    down: "Bad answer",
    more: "Details",
    reasons: "What was wrong?",
    comment: "Comment",
    send: "Send",
    pending: "Sending…",
    waiting: "Not sent yet. Trying again…",
    stored: "Saved, thank you.",
    undone: "Your vote was taken back.",
    failed: "Not saved.",
  };

  const LABELS = Object.keys(TEXTS).map((name) => "label-" + name);

  // A subject is one person's vote on one answer.
  const known = new Map(); // subject -> {vote, time}: what the gateway has confirmed
  const queue = new Map(); // event id -> item: what it has not, oldest first
  const shown = new Set(); // elements in the document
  let sending = false;
  let failures = 0;
  let timer;

  // Storage may be full or forbidden, and there is none of the kind "no": everything is in memory, too.
  const read = (kind, key) => {
    try {
      return JSON.parse(window[kind + "Storage"].getItem(key));
    } catch {}
  };
  const write = (kind, key, value) => {
    try {
      if (value) window[kind + "Storage"].setItem(key, JSON.stringify(value));
      else window[kind + "Storage"].removeItem(key);
    } catch {}
  };

  const waiting = (subject) => [...queue.values()].filter((item) => item.subject === subject);

  function remember({ subject, storage, vote, event }) {
    const entry = { vote, time: event.event_time };
    known.set(subject, { ...entry, here: true });
    const { [subject]: _, ...others } = read(storage, KNOWN) ?? {};
    write(storage, KNOWN, Object.fromEntries([...Object.entries(others), [subject, entry]].slice(-MAX_KNOWN)));
  }

  function restore() {
    const items = [];
    for (const kind of ["local", "session"]) {
      for (const [subject, entry] of Object.entries(read(kind, KNOWN) ?? {})) known.set(subject, entry);
      try {
        for (const key of Object.keys(window[kind + "Storage"])) if (key.startsWith(EVENT)) items.push(read(kind, key));
      } catch {}
    }
    const sound = items.filter((item) => item?.event).sort((a, b) => a.event.event_time - b.event.event_time);
    for (const item of sound) queue.set(item.event.event_id, item);
    drain();
  }

  // Sends in order, again with the same id and time until there is an answer.
  async function drain() {
    clearTimeout(timer);
    if (sending) return; // the loop below sees what is added meanwhile
    sending = true;
    const stuck = new Set(); // what is later for these waits for what is earlier
    let pause = 0;
    for (const item of queue.values()) {
      if (stuck.has(item.subject) || stuck.has(item.endpoint)) continue;
      const { again, after, ...answer } = await post(item);
      if (again && Date.now() - item.event.event_time < MAX_AGE) {
        stuck.add(answer.status ? item.subject : item.endpoint);
        pause = Math.max(pause, Math.min(PAUSE, after * 1e3 || 0));
        item.tried = true;
        tell(item, "waiting", answer);
      } else {
        queue.delete(item.event.event_id);
        write(item.storage, EVENT + item.event.event_id);
        if (!answer.reason) remember(item);
        tell(item, answer.reason ? "failed" : "stored", answer);
      }
    }
    sending = false;
    failures = stuck.size && failures + 1;
    pause ||= Math.min(PAUSE, 500 * 2 ** failures) * (1 - Math.random() / 2);
    if (stuck.size) timer = setTimeout(drain, pause);
  }

  async function post({ event, endpoint, token }) {
    try {
      const reply = await fetch(endpoint, {
        method: "POST",
        body: JSON.stringify({ ...event, token }),
        headers: { "Content-Type": "text/plain" }, // needs no preflight
        credentials: "omit",
        keepalive: true, // also while the page is being left
        signal: AbortSignal.timeout(TRY),
      });
      const { status, ok } = reply;
      const body = await reply.json().catch(() => {});
      if (ok && body?.accepted) return { status };
      const again = ok || status === 408 || status === 429 || status >= 500; // ok, but it was not the gateway
      const { reason = "http_" + status, message } = body?.errors?.[0] ?? {};
      return { again, after: reply.headers.get("Retry-After"), status, reason, message };
    } catch (error) {
      return { again: true, status: 0, reason: "unreachable", message: String(error) };
    }
  }

  const wake = () => {
    failures = 0;
    drain();
  };
  addEventListener("online", wake);
  document.addEventListener("visibilitychange", () => document.hidden || wake());

  function tell(item, state, answer) {
    const mine = [...shown].filter((element) => element.subject === item.subject);
    const detail = { vote: item.vote, event: item.event, ...answer };
    for (const target of mine.length ? mine : [document]) {
      target.told?.(state);
      target.dispatchEvent(new CustomEvent("feedback-" + state, { detail, bubbles: true, composed: true }));
    }
  }

  // What a token says; its signature is the gateway's business.
  function claims(token) {
    try {
      const bytes = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
      return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (char) => char.charCodeAt(0))));
    } catch {
      return {};
    }
  }

  function newId() {
    const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID is not there without https
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  // Later than the event before, whatever the clock does, and within the token's life.
  function newTime(subject, { iat = 0, exp = 9e9 }) {
    const last = waiting(subject).at(-1)?.event.event_time ?? known.get(subject)?.time ?? 0;
    return Math.min(Math.max(Date.now(), last + 1, iat * 1e3), exp * 1e3);
  }

  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { display: inline-block; max-inline-size: 100%; color: var(--feedback-color, inherit);
      --_accent: var(--feedback-accent, light-dark(#0969da, #58a6ff));
      --_line: 1px solid var(--feedback-border, color-mix(in srgb, currentColor 55%, transparent));
      --_radius: var(--feedback-radius, .5em); --_size: var(--feedback-size, 2.25em); }
    :host([hidden]), [hidden] { display: none !important; }
    [part=group], [part=reason] { display: flex; flex-wrap: wrap; align-items: center; gap: .25em; }
    button, textarea { font: inherit; color: inherit; background: none; border: var(--_line);
      border-radius: var(--_radius); padding: .25em .5em; }
    button { cursor: pointer; min-inline-size: var(--_size); min-block-size: var(--_size); }
    button:hover { background: color-mix(in srgb, currentColor 12%, transparent); }
    button:disabled { opacity: .5; cursor: default; }
    :focus-visible { outline: 2px solid var(--_accent); outline-offset: 1px; }
    svg { display: block; margin: auto; inline-size: 1.25em; fill: none; stroke: currentColor; stroke-width: 1.75;
      stroke-linejoin: round; }
    [part=up], [part=down] { border-color: transparent; }
    [part=down] svg { transform: scaleY(-1); }
    [aria-pressed=true] svg { fill: var(--feedback-up, light-dark(#1a7f37, #3fb950)); }
    [part=down][aria-pressed=true] svg { fill: var(--feedback-down, light-dark(#cf222e, #f85149)); }
    [part=panel] { background: var(--feedback-background, none); border: var(--_line); border-radius: var(--_radius);
      box-sizing: border-box; inline-size: 24em; max-inline-size: 100%; margin-block-start: .5em; padding: .75em;
      display: grid; gap: .75em; }
    [part=send] { justify-self: start; }
    fieldset { border: 0; margin: 0; padding: 0; min-inline-size: 0; }
    legend { padding: 0; }
    [part=reason] { min-block-size: 1.75em; }
    input { accent-color: var(--_accent); inline-size: 1.1em; block-size: 1.1em; margin: 0; }
    textarea { display: block; box-sizing: border-box; inline-size: 100%; resize: vertical; }
  `);

  function make(tag, attributes, ...children) {
    const space = tag === "svg" || tag === "path" ? "2000/svg" : "1999/xhtml";
    const element = document.createElementNS("http://www.w3.org/" + space, tag);
    for (const name in attributes) element.setAttribute(name, attributes[name]);
    element.append(...children);
    return element;
  }

  const THUMB = "M3 10h4v11H3zM7 10l4-8c2 0 3 1 3 3v4h5c1 0 2 1 2 2l-1 8c0 1-1 2-2 2H7";
  const icon = () => make("svg", { viewBox: "0 0 24 24", "aria-hidden": true }, make("path", { d: THUMB }));

  class FeedbackButtons extends HTMLElement {
    static observedAttributes = ["token", "value", "reasons", "comment", ...LABELS];

    #claims = {};
    #open = false; // the panel
    #state = "";
    #parts = {};

    constructor() {
      super();
      const part = (tag, name, attributes, ...children) =>
        (this.#parts[name] = make(tag, { part: name, ...attributes }, ...children));
      const button = (name, act, ...children) => {
        const made = part("button", name, { type: "button" }, ...children);
        made.addEventListener("click", act);
        return made;
      };
      const root = this.attachShadow({ mode: "open", delegatesFocus: true });
      root.adoptedStyleSheets = [sheet];
      root.append(
        part("div", "group", { role: "group" },
          button("up", () => this.#click("up"), icon()),
          button("down", () => this.#click("down"), icon()),
          button("more", () => this.#toggle(!this.#open)),
          part("span", "pending", { "aria-hidden": true }),
          part("span", "status", { role: "status" })),
        part("div", "panel", { role: "group", id: "panel" },
          make("fieldset", {}, part("legend", "legend"), part("div", "reasons")),
          make("label", {}, part("span", "prompt"), part("textarea", "comment", { rows: 3, maxlength: 2000 })),
          button("send", () => this.#details())));
      this.#parts.more.setAttribute("aria-controls", "panel");
      this.#parts.panel.addEventListener("keydown", ({ key }) => key === "Escape" && this.#toggle(false));
    }

    connectedCallback() {
      shown.add(this);
      this.#render();
    }

    disconnectedCallback() {
      shown.delete(this);
    }

    attributeChangedCallback(name, _, value) {
      if (name === "reasons") this.#reasons(value ?? "");
      if (name === "token") {
        this.#claims = claims(value);
        const { tenant, request, user } = this.#claims;
        const before = this.subject;
        this.subject = value && JSON.stringify(request ? [tenant, request, user] : value);
        if (before !== this.subject) this.#fresh();
      }
      if (this.isConnected) this.#render();
    }

    /** "up", "down" or null: what is pressed, on its way or stored. */
    get vote() {
      const last = waiting(this.subject).at(-1) ?? known.get(this.subject);
      const given = this.getAttribute("value"); // what the server knew when it made this page
      if (given === null || last?.event || last?.here) return last?.vote ?? null;
      return given === "up" || given === "down" ? given : null;
    }

    /** "", "pending", "waiting", "stored" or "failed". */
    get state() {
      return this.#state;
    }

    told(state) {
      const rest = waiting(this.subject);
      const busy = rest.some((item) => item.tried) ? "waiting" : "pending";
      this.#state = state !== "failed" && rest.length ? busy : state;
      this.#render();
    }

    #fresh() {
      this.#open = false;
      this.#empty();
      this.#state = waiting(this.subject).length ? "waiting" : "";
    }

    #empty() {
      this.#parts.comment.value = "";
      for (const box of this.#boxes()) box.checked = false;
    }

    #boxes() {
      return [...this.#parts.reasons.querySelectorAll("input")];
    }

    #may(kind) {
      return this.#claims.kinds?.includes(kind) ?? true;
    }

    #reasons(list) {
      const rows = list.split(";").filter((text) => text.trim());
      this.#parts.reasons.replaceChildren(
        ...rows.map((text) => {
          const [value, label = value] = text.split("=").map((half) => half.trim());
          return make("label", { part: "reason" }, make("input", { type: "checkbox", value }), label);
        }),
      );
    }

    #click(pressed) {
      const undo = this.vote === pressed;
      if (undo && !this.#may("retract")) return;
      const fields = undo ? { kind: "retract" } : { rating: pressed === "up" };
      if (this.vote === "down" && !undo && this.#asks()) Object.assign(fields, this.#written(true));
      if (undo || pressed === "up") this.#empty();
      this.#open = !undo && pressed === "down" && this.#asks();
      this.#add(undo ? null : pressed, fields);
    }

    #asks() {
      return this.#may("context") && (this.hasAttribute("comment") || !!this.#boxes().length);
    }

    // What the panel says. Both fields, also if empty: then they replace what was said before.
    #written(nothing) {
      const reasons = this.#boxes().filter((box) => box.checked && !nothing);
      const comment = nothing ? "" : this.#parts.comment.value.trim();
      return {
        ...(this.#boxes().length && { reasons: reasons.map((box) => box.value) }),
        ...(this.hasAttribute("comment") && { comment: comment.toWellFormed?.() ?? comment }),
      };
    }

    #details() {
      this.#toggle(false);
      this.#add("down", this.#written());
    }

    #toggle(open) {
      this.#open = open;
      this.#render();
      if (open) (this.#boxes()[0] ?? this.#parts.comment).focus();
      else this.#parts.more.focus();
    }

    #add(vote, fields) {
      const { subject } = this;
      const event = { event_id: newId(), event_time: newTime(subject, this.#claims), ...fields };
      const base = this.getAttribute("endpoint")?.replace(/\/*$/, "/") ?? ".";
      const endpoint = new URL("v1/token-feedback", new URL(base, HERE)).href;
      const storage = this.getAttribute("storage") ?? "local";
      const item = { event, endpoint, token: this.getAttribute("token"), subject, vote, storage };
      const { origins } = this.#claims; // a refusal for these could not be read
      if (origins?.[0] && !origins.includes(origin)) return tell(item, "failed", { status: 0, reason: "forbidden" });
      if (queue.size >= MAX_WAITING) return tell(item, "failed", { status: 0, reason: "queue_full" });
      queue.set(event.event_id, item);
      write(storage, EVENT + event.event_id, item);
      tell(item, "change");
      drain();
    }

    #render() {
      const { group, up, down, more, pending, status, panel, legend, prompt, comment, send } = this.#parts;
      const text = (name) => this.getAttribute("label-" + name) ?? TEXTS[name];
      const { vote, state } = this;
      group.setAttribute("aria-label", text("group"));
      for (const [name, button] of Object.entries({ up, down })) {
        button.setAttribute("aria-pressed", vote === name);
        button.setAttribute("aria-label", text(name));
        button.disabled = !this.subject || !this.#may("vote");
      }
      more.hidden = vote !== "down" || !this.#asks();
      panel.hidden = more.hidden || !this.#open;
      more.setAttribute("aria-expanded", !panel.hidden);
      panel.setAttribute("aria-label", text("more"));
      legend.parentNode.hidden = !this.#boxes().length;
      prompt.parentNode.hidden = !this.hasAttribute("comment");
      for (const [name, part] of Object.entries({ more, reasons: legend, comment: prompt, send }))
        part.textContent = text(name);
      const busy = state === "pending"; // shown, not said: what comes next is said
      const said = state && !busy ? text(state === "stored" && !vote ? "undone" : state) : "";
      pending.textContent = busy ? text(state) : "";
      if (status.textContent !== said) status.textContent = said; // a repetition would be said again
      this.setAttribute("state", state);
    }
  }

  restore();
  customElements.define(NAME, FeedbackButtons);
})();
