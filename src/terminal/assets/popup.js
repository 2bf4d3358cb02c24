// The pop-up: a dialog that stands before everything else until it is answered. It shows one message at a time, in the order in
// which they came, and tells how many wait behind it.

import { category } from "./category.js";
import { badge, byId, icon, make } from "./elements.js";
import { language, momentOf, say } from "./texts.js";

/** A press meant for something else must not answer a message that has just come up under the finger. */
const UNTOUCHED_MS = 600;

const dialog = byId("popup");
let on = { answer() {}, close() {} };
let showing = null;
let enabler = 0;

/** What to call when a message is answered, and when one that is read again is closed. */
export function listen(handlers) {
  on = handlers;
}

export const isOpen = () => dialog.open;
export const current = () => showing;

function dismissed() {
  const button = dialog.querySelector("button.answer, button.leave");
  if (!showing || button?.disabled) return;
  if (showing.mode === "read") on.close();
  else if (!showing.wantsConfirmation) on.answer(showing.message);
}

dialog.addEventListener("cancel", (event) => {
  event.preventDefault();
  dismissed();
});
// A browser lets a second Escape pass by the handler above.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !dialog.open) return;
  event.preventDefault();
  dismissed();
}, { capture: true });
dialog.addEventListener("close", () => { if (showing) dialog.showModal(); });

/**
 * Shows a message. `mode`: "new" for one that came, "read" for one that is looked at again, "try" for a trial.
 * `place` and `count` tell where it is in the queue. `state` has corrected, reminded, recalled, confirmed, expired, waiting.
 */
export function show(message, { mode, place = 1, count = 1, state = {} }) {
  const look = category(message.category);
  const wantsConfirmation = message.must_confirm && !state.confirmed && !state.recalled && !state.expired;
  const key = JSON.stringify([message, mode, state, look, language()]);
  if (showing?.key === key && dialog.open) {
    // Others came behind it: nothing moves under whoever reads.
    const counter = dialog.querySelector(".popup-count");
    counter.textContent = count > 1 ? say("of", place, count) : "";
    return;
  }
  const same = showing?.message.id === message.id && showing.mode === mode;
  showing = { message, mode, key, wantsConfirmation };
  dialog.className = `popup colour-${look.colour}${mode === "new" ? " calls" : ""}`;
  const notes = [
    state.recalled && note("bad", "close", say("recalled_text")),
    state.corrected && note("note", "edit", say("corrected_text")),
    state.reminded && note("warning", "bell", say("reminder_text")),
    state.expired && note("warning", "clock", say("expired")),
    state.waiting && note("note", "clock", say("not_told")),
  ];
  const facts = [
    make("span", {}, say("from_head_office")),
    make("time", { datetime: new Date(message.sent_at).toISOString() }, momentOf(message.sent_at)),
    message.valid_until && make("span", {}, say("valid_until", momentOf(message.valid_until))),
  ];
  const title = make("h2", { id: "popup-title", tabindex: "-1" }, message.title);
  const body = make("div", { class: "popup-body", tabindex: "0", role: "group", "aria-labelledby": "popup-title" },
    ...notes,
    title,
    make("p", { class: "popup-text", id: "popup-text" }, message.text),
    message.image && make("img", { class: "popup-image", src: message.image, alt: say("picture") }),
    make("p", { class: "popup-facts" }, ...facts));
  dialog.replaceChildren(
    make("header", { class: "popup-top" },
      icon(look.sign, "popup-sign"),
      make("p", { class: "popup-category" }, look.title),
      make("p", { class: "popup-count" }, count > 1 ? say("of", place, count) : ""),
      wantsConfirmation && make("p", { class: "popup-must" }, icon("check"), make("span", {}, say("must_confirm"))),
      !wantsConfirmation && message.must_confirm && state.confirmed && badge("good", "check", say("confirmed"))),
    body,
    footer(message, mode, wantsConfirmation));
  if (!dialog.open) {
    dialog.showModal();
  }
  if (mode !== "read" && !same) hold();
  // Not the button: a key that somebody was pressing anyway must not answer.
  if (!same) title.focus({ preventScroll: true });
}

function note(tone, sign, text) {
  return make("p", { class: `popup-note ${tone}` }, icon(sign), make("span", {}, text));
}

function footer(message, mode, wantsConfirmation) {
  if (mode === "read") {
    return make("footer", { class: "popup-foot" },
      make("button", { type: "button", class: `button leave${wantsConfirmation ? "" : " primary"}`, onclick: () => on.close() }, say("close")),
      wantsConfirmation && make("button", { type: "button", class: "button primary answer", onclick: () => on.answer(message) },
        icon("check"), make("span", {}, say("confirm"))));
  }
  return make("footer", { class: "popup-foot" },
    make("button", { type: "button", class: "button primary answer", onclick: () => on.answer(message) },
      icon("check"), make("span", {}, say(wantsConfirmation ? "confirm" : "ok"))));
}

function hold() {
  const button = dialog.querySelector("button.answer");
  if (!button) return;
  button.disabled = true;
  clearTimeout(enabler);
  enabler = setTimeout(() => { button.disabled = false; }, UNTOUCHED_MS);
}

export function hide() {
  showing = null;
  if (dialog.open) dialog.close();
  dialog.replaceChildren();
}
