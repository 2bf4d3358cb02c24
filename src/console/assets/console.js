// What pages do in a browser beyond links and forms; each works without it.
"use strict";
(() => {
  const root = document.documentElement;
  const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";

  // Every request of htmx carries the session's token.
  document.addEventListener("htmx:configRequest", (event) => {
    event.detail.headers["X-CSRF-Token"] = meta("csrf");
  });
  // Signed out meanwhile: the whole page goes to the sign-in form.
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 401) location.reload();
  });

  // Light and dark: at once, and kept as the form would keep it.
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-theme-switch]")) return;
    event.preventDefault();
    const theme = event.submitter.value;
    root.dataset.theme = theme;
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${theme}; Path=/; SameSite=Lax; Max-Age=31536000${secure}`;
    document.dispatchEvent(new CustomEvent("theme"));
  });

  // Times: the reader's own, with the exact one in the title; "ago" goes on counting.
  const lang = root.lang || "en";
  const full = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
  const clock = new Intl.DateTimeFormat(lang, { timeStyle: "medium", hourCycle: "h23" });
  const short = new Intl.DateTimeFormat(lang, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const brief = (moment) => (moment.toDateString() === new Date().toDateString() ? clock : short).format(moment);
  const relative = new Intl.RelativeTimeFormat(lang, { numeric: "auto", style: "short" });
  const steps = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [Infinity, "day", 86400]];
  const ago = (moment) => {
    const seconds = Math.round((moment - Date.now()) / 1000);
    const [, unit, size] = steps.find(([limit]) => Math.abs(seconds) < limit);
    return relative.format(Math.trunc(seconds / size), unit);
  };
  const show = (element) => {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) return;
    const form = element.dataset.time;
    const forms = { ago, brief, clock: (of) => clock.format(of) };
    const text = forms[form] ? forms[form](moment) : full.format(moment);
    if (element.textContent !== text) element.textContent = text;
    if (form === "ago" || form === "brief") element.title = `${full.format(moment)} · ${element.dateTime}`;
  };
  const times = (within) => {
    if (within.matches?.("time[data-time]")) show(within);
    within.querySelectorAll?.("time[data-time]").forEach(show);
  };
  setInterval(() => { if (!document.hidden) document.querySelectorAll('time[data-time="ago"]').forEach(show); }, 5000);

  // Moments in forms: the reader's own time, with the browser's picker; addresses and the server keep UTC.
  const zoned = /(z|[+-]\d\d:?\d\d)$/i;
  const moments = (within) => within.querySelectorAll?.('input[data-moment]:not([type="datetime-local"])').forEach((field) => {
    const value = field.value.trim();
    const text = value.length === 10 ? `${value}T00:00` : value.replace(" ", "T");
    const moment = new Date(zoned.test(text) ? text : `${text}Z`);
    // What is no moment stays as it was typed.
    if (value && Number.isNaN(moment.getTime())) return;
    const there = value && new Date(moment - moment.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
    field.type = "datetime-local";
    field.step = there && !there.endsWith(":00") ? "1" : "60";
    field.value = there;
  });
  document.addEventListener("formdata", (event) => {
    for (const field of event.target.querySelectorAll('input[type="datetime-local"][data-moment]')) {
      if (field.value) event.formData.set(field.name, new Date(field.value).toISOString().replace(".000Z", "Z"));
    }
  });

  // Copying: data-copy has the text, or names the element that holds it with #id.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const wanted = button.dataset.copy;
    const held = wanted.startsWith("#") && document.getElementById(wanted.slice(1));
    await navigator.clipboard.writeText(held ? (held.value ?? held.textContent) : wanted);
    const label = button.querySelector("span") ?? button;
    const before = label.textContent;
    label.textContent = document.body.dataset.copied;
    button.setAttribute("aria-live", "polite");
    setTimeout(() => { label.textContent = before; }, 1600);
  });

  // Asking before: a form with the hidden fields ask, ask_title and perhaps ask_danger. Without scripts a page asks.
  const ask = (asked) => new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "confirm-title");
    const form = document.createElement("form");
    form.method = "dialog";
    form.className = "dialog";
    const title = document.createElement("h2");
    title.id = "confirm-title";
    title.textContent = asked("ask_title")?.value ?? "";
    const text = document.createElement("p");
    text.textContent = asked("ask").value;
    const actions = document.createElement("div");
    actions.className = "actions";
    const no = document.createElement("button");
    no.className = "button";
    no.value = "no";
    no.textContent = document.body.dataset.cancel;
    const yes = document.createElement("button");
    yes.className = `button primary${asked("ask_danger") ? " danger" : ""}`;
    yes.value = "yes";
    yes.textContent = title.textContent;
    actions.append(no, yes);
    form.append(title, text, actions);
    dialog.append(form);
    document.body.append(dialog);
    dialog.addEventListener("close", () => { resolve(dialog.returnValue === "yes"); dialog.remove(); });
    dialog.showModal();
    no.focus();
  });
  document.addEventListener("submit", (event) => {
    const { target: form, submitter } = event;
    const asked = (name) => form.querySelector(`input[type="hidden"][name="${name}"]`);
    const question = [...form.querySelectorAll('input[type="hidden"][name^="ask"]')];
    if (!asked("ask") || form.dataset.confirmed) return;
    event.preventDefault();
    ask(asked).then((yes) => {
      if (!yes) return;
      // A list that is alive may have been drawn anew meanwhile; a form that is nowhere is not sent.
      if (!form.isConnected) {
        form.hidden = true;
        document.body.append(form);
      }
      // It was answered; what is sent asks no more.
      question.forEach((field) => { field.disabled = true; });
      form.dataset.confirmed = "yes";
      form.requestSubmit(submitter);
      delete form.dataset.confirmed;
      question.forEach((field) => { field.disabled = false; });
    });
  });

  // Dialogs that stand in the page: data-open="#id" opens one, data-close closes the one around it.
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) {
      const dialog = document.querySelector(opener.dataset.open);
      if (dialog?.showModal) { event.preventDefault(); dialog.showModal(); }
    }
    const closer = event.target.closest("[data-close]");
    if (closer) closer.closest("dialog")?.close();
    for (const open of document.querySelectorAll("details.more[open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelectorAll("details.more[open]").forEach((open) => { open.open = false; });
  });

  // A form sends itself when a choice in it changes: data-auto.
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (form?.matches("[data-auto]")) form.requestSubmit();
  });

  // A text file goes into a field of the form: data-into="#id". Without scripts the text is pasted.
  document.querySelectorAll("[data-file-field]").forEach((field) => { field.hidden = false; });
  document.addEventListener("change", async (event) => {
    const into = event.target.dataset?.into && document.querySelector(event.target.dataset.into);
    if (into && event.target.files?.[0]) into.value = await event.target.files[0].text();
  });

  // What is fetched below a row, and put away again: a link with data-unfold.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const link = event.detail.elt;
    const slot = link.matches("[data-unfold]") && link.closest("tbody").querySelector(".slot");
    if (!slot?.firstChild) return;
    event.preventDefault();
    slot.replaceChildren();
    link.setAttribute("aria-expanded", "false");
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const link = event.detail.elt;
    if (event.detail.successful && link.matches("[data-unfold]")) link.setAttribute("aria-expanded", "true");
  });

  // A list that is drawn live for all viewers is filtered here, by what the address asks for.
  const sieve = () => document.querySelectorAll("[data-sieve]").forEach((place) => {
    const { sieve: wanted, node, trouble } = place.dataset;
    if (!wanted && !node && !trouble) return;
    let any = false;
    for (const part of place.querySelectorAll("[data-of]")) {
      part.hidden = Boolean(node) && part.dataset.of !== node;
      for (const row of part.querySelectorAll("tbody tr")) {
        const name = row.querySelector("th")?.textContent.replace(/\s+/g, " ").toLowerCase() ?? "";
        row.hidden = !name.includes(wanted.trim().toLowerCase()) || (Boolean(trouble) && !("troubled" in row.dataset));
        any ||= !row.hidden && !part.hidden;
      }
    }
    const empty = document.querySelector("[data-sieve-empty]");
    if (empty) empty.hidden = any;
  });

  // Live parts: one stream a page, closed while nobody looks, since a browser has few connections to a host.
  const streams = new Set();
  const mark = (state) => document.querySelectorAll(".live").forEach((live) => {
    live.dataset.state = state;
    const text = state === "on" ? live.dataset.on : live.dataset.off;
    if (text && live.textContent !== text) live.textContent = text;
  });
  if (window.htmx) {
    htmx.createEventSource = (url) => {
      const stream = new EventSource(url);
      streams.add(stream);
      return stream;
    };
  }
  document.addEventListener("visibilitychange", () => {
    for (const stream of streams) {
      if (document.hidden) {
        stream.close();
      } else if (stream.readyState === EventSource.CLOSED) {
        streams.delete(stream);
        stream.onerror?.(new Event("error"));
      }
    }
  });
  // Parts that ask for themselves again and again say so, and the page says when they get no answer: what it shows is as it was.
  const polls = (element) => Boolean(element?.matches?.('[hx-trigger*="every "]'));
  document.addEventListener("htmx:configRequest", ({ detail }) => {
    if (polls(detail.elt)) detail.headers["X-Poll"] = "1";
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (!polls(detail.requestConfig?.elt)) return;
    // An answer that htmx puts in the page is no answer yet: forms come back with 503 too.
    const { status } = detail.xhr;
    const known = status >= 200 && status < 400;
    mark(known ? "on" : "off");
    const unknown = document.getElementById("unknown");
    if (unknown) unknown.hidden = known;
  });
  document.addEventListener("htmx:sseOpen", () => mark("on"));
  document.addEventListener("htmx:sseError", () => mark("off"));
  document.addEventListener("htmx:sseMessage", (event) => { times(event.target); sieve(); });
  // What is put beside its target is in no event's target.
  document.addEventListener("htmx:afterSettle", () => { times(document); sieve(); });
  document.addEventListener("htmx:oobAfterSwap", (event) => times(event.target));
  times(document);
  moments(document);
})();
