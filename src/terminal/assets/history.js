// The messages of this shop, newest first: head office's list, and without connection the newest that are kept here.

import { category } from "./category.js";
import { badge, byId, icon, make } from "./elements.js";
import { kept } from "./keep.js";
import * as messages from "./messages.js";
import * as receipts from "./receipts.js";
import { clockOf, dayOf, say } from "./texts.js";

const PAGE = 50;

let shown = [];
let before = null;
let words = "";
let offline = false;
let turn = 0;
let typing = 0;
let refused = () => {};
let open = () => {};

export function begin(onOpen, onRefused) {
  open = onOpen;
  refused = onRefused;
}

byId("q").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => search(byId("q").value), 250);
});
byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  search(byId("q").value);
});
byId("older").addEventListener("click", () => load(true));

function search(wanted) {
  if (wanted.trim() === words) return;
  words = wanted.trim();
  load(false);
}

/** Fetches the newest, or what comes below what is shown. */
export async function load(more = false) {
  const mine = ++turn;
  const query = new URLSearchParams({ limit: PAGE });
  if (words) query.set("q", words);
  if (more && before) query.set("before", before);
  let found = null;
  try {
    const answer = await fetch(`/terminal/history?${query}`, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (answer.status === 401) return refused();
    if (answer.ok) found = await answer.json();
  } catch { /* without connection */ }
  if (mine !== turn) return;
  offline = !found;
  if (found) {
    const page = found.messages.map(messages.read);
    shown = more ? [...shown, ...page.filter((one) => !shown.some((other) => other.id === one.id))] : page;
    before = found.before ?? null;
  } else if (!more) {
    const has = (message) => `${message.title}\n${message.text}`.toLowerCase().includes(words.toLowerCase());
    shown = kept().recent.filter(has);
    before = null;
  }
  draw();
}

/** One message of head office by its id, where it is among the newest. */
export async function find(id) {
  try {
    const answer = await fetch(`/terminal/history?limit=200`, { cache: "no-store" });
    const { messages: found } = await answer.json();
    const given = found.find((one) => one.id === id);
    return given ? messages.read(given) : null;
  } catch {
    return null;
  }
}

/** A message that is new or has changed, without asking head office. */
export function update(message) {
  const place = shown.findIndex((one) => one.id === message.id);
  if (place >= 0) shown[place] = { ...shown[place], ...message };
  else if (!words && "title" in message) shown = [message, ...shown].sort((one, other) => other.sent_at - one.sent_at);
  draw();
}

export const isOffline = () => offline;

export function clear() {
  turn += 1;
  shown = [];
  before = null;
  words = "";
  byId("q").value = "";
  byId("messages").replaceChildren();
}

/** What is shown of a message beside its text. */
export function stateOf(message) {
  return {
    recalled: Boolean(message.recalled_at),
    confirmed: messages.isConfirmed(message),
    expired: messages.isOver(message),
    waiting: receipts.isWaiting(message.id),
  };
}

export function draw() {
  const list = byId("messages");
  const focused = document.activeElement?.closest?.("[data-id]")?.dataset.id;
  const parts = [];
  let day = "";
  for (const message of shown) {
    const heading = dayOf(message.sent_at);
    if (heading !== day) parts.push(make("li", { class: "messages-day" }, make("h2", {}, heading)));
    day = heading;
    parts.push(line(message));
  }
  list.replaceChildren(...parts);
  if (focused) list.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  const none = shown.length === 0;
  byId("nothing").hidden = !none;
  byId("nothing-title").textContent = say(words ? "none_found" : "none_title");
  byId("nothing-text").textContent = say(words ? "none_found_text" : "none_text");
  byId("older").hidden = !before;
  byId("list-note").hidden = !offline || none;
  byId("list-note").textContent = say("only_kept");
}

function line(message) {
  const look = category(message.category);
  const state = stateOf(message);
  const badges = [
    state.recalled && badge("bad", "close", say("recalled")),
    !state.recalled && message.corrected_at && badge("note", "edit", say("corrected")),
    !state.recalled && message.must_confirm && state.confirmed && badge("good", "check", say("confirmed")),
    !state.recalled && message.must_confirm && !state.confirmed && !state.expired && badge("warning", "alert", say("must_confirm")),
    !state.recalled && state.expired && badge("", "clock", say("expired")),
  ].filter(Boolean);
  return make("li", {},
    make("button", {
      type: "button", class: `message colour-${look.colour}${state.recalled || state.expired ? " over" : ""}`,
      "data-id": message.id, onclick: () => open(message),
    },
      make("span", { class: "message-sign" }, icon(look.sign)),
      make("span", { class: "message-main" },
        make("span", { class: "message-head" }, make("b", {}, message.title), make("time", { datetime: new Date(message.sent_at).toISOString() }, clockOf(message.sent_at))),
        make("span", { class: "message-text" }, message.text.replace(/\s+/g, " ")),
        make("span", { class: "message-marks" }, make("span", { class: "message-category" }, look.title), ...badges))));
}
