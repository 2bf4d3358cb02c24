// What becomes of a message: it is kept, acknowledged, shown once in its turn, replaced by its correction, taken back by a recall,
// and dropped when its time is over. However often head office repeats an event, the outcome is the same.

import * as attention from "./attention.js";
import { toast } from "./elements.js";
import { change, kept, remember, remembered, see, seen } from "./keep.js";
import * as popup from "./popup.js";
import * as receipts from "./receipts.js";
import { say } from "./texts.js";

/** The clock of head office, less ours. */
let ahead = 0;
let expiry = 0;
let changed = () => {};

export const now = () => Date.now() + ahead;

/** `onChange` is called with a message that is new, changed or answered. */
export function begin(serverNow, onChange) {
  if (serverNow) ahead = serverNow - Date.now();
  changed = onChange;
}

const moment = (given) => (typeof given === "string" ? Date.parse(given) : given) || null;

/** A message as head office tells it, with all moments as milliseconds. */
export function read(given) {
  return {
    id: String(given.id),
    category: String(given.category ?? ""),
    title: String(given.title ?? ""),
    text: String(given.text ?? ""),
    image: typeof given.image === "string" && given.image.startsWith("/terminal/image/") ? given.image : null,
    sent_at: moment(given.sent_at) ?? now(),
    valid_until: moment(given.valid_until),
    must_confirm: Boolean(given.must_confirm),
    corrected_at: moment(given.corrected_at),
    recalled_at: moment(given.recalled_at),
    received_at: moment(given.received_at),
    confirmed_at: moment(given.confirmed_at),
  };
}

export const isOver = (message) => Boolean(message.valid_until) && message.valid_until <= now();
export const isConfirmed = (message) => Boolean(message.confirmed_at) || Boolean(seen(message.id)?.confirmed);

/** A message came, or its correction. */
export function arrive(given) {
  const message = read(given);
  const version = message.corrected_at ?? 0;
  const known = seen(message.id);
  if (isOver(message)) {
    // Never shown: so head office is not told that it was received.
    change((all) => { all.queue = all.queue.filter((one) => one.message.id !== message.id); });
    next();
    return;
  }
  if (known && known.version >= version) {
    // Head office repeats it, so it may not have our receipt.
    if (known.confirmed) receipts.confirmed(message.id);
    else receipts.received(message.id);
    return;
  }
  const corrected = Boolean(known) && version > 0;
  const waits = { message, corrected };
  change((all) => {
    const place = all.queue.findIndex((one) => one.message.id === message.id);
    if (place >= 0) all.queue[place] = waits;
    else all.queue.push(waits);
  });
  remember(message);
  see(message.id, version, false);
  receipts.received(message.id);
  attention.call(message, corrected);
  changed(message);
  next();
}

export function recall({ id }) {
  const message = remembered(id) ?? kept().queue.find((one) => one.message.id === id)?.message;
  const waited = kept().queue.some((one) => one.message.id === id);
  change((all) => { all.queue = all.queue.filter((one) => one.message.id !== id); });
  attention.dismiss(id);
  if (!message) {
    // Older than what is kept here; the list may show it.
    changed({ id, recalled_at: now() });
  } else if (!message.recalled_at) {
    const recalled = { ...message, recalled_at: now() };
    remember(recalled);
    changed(recalled);
    if (waited || popup.current()?.message.id === id) toast(say("recalled_toast", message.title));
  }
  if (popup.current()?.message.id === id) popup.hide();
  next();
}

/** Head office asks again for what was not answered. `find` looks for a message that is not kept any more. */
export async function remind({ id }, find) {
  if (seen(id)?.confirmed) {
    receipts.confirmed(id);
    return;
  }
  const waits = kept().queue.find((one) => one.message.id === id);
  const message = waits?.message ?? remembered(id) ?? (await find(id));
  if (!message || message.recalled_at || message.confirmed_at || isOver(message)) return;
  change((all) => {
    const entry = all.queue.find((one) => one.message.id === id);
    if (entry) entry.reminded = true;
    else all.queue.push({ message, reminded: true });
  });
  receipts.received(id);
  attention.call(message, false);
  next();
}

/** Somebody pressed the button of a message. */
export function answer(message) {
  see(message.id, message.corrected_at ?? 0, message.must_confirm);
  if (message.must_confirm) {
    receipts.confirmed(message.id);
    remember({ ...message, confirmed_at: now() });
  }
  change((all) => { all.queue = all.queue.filter((one) => one.message.id !== message.id); });
  attention.dismiss(message.id);
  popup.hide();
  changed(remembered(message.id) ?? message);
  next();
}

/** Shows what is first in the queue, or nothing. */
export function next() {
  clearTimeout(expiry);
  for (const { message } of kept().queue.filter((one) => isOver(one.message))) {
    change((all) => { all.queue = all.queue.filter((one) => one.message.id !== message.id); });
    attention.dismiss(message.id);
    toast(say("expired_toast", message.title));
    changed(message);
  }
  const { queue } = kept();
  const ends = Math.min(...queue.map((one) => one.message.valid_until ?? Infinity));
  if (Number.isFinite(ends)) expiry = setTimeout(next, Math.min(ends - now() + 50, 2 ** 31 - 1));
  const first = queue[0];
  attention.waiting(queue.length, first?.message);
  if (!first) {
    if (popup.current()?.mode === "new") popup.hide();
    return;
  }
  popup.show(first.message, {
    mode: "new",
    count: queue.length,
    // Whoever confirmed it before it was corrected need not do so again.
    state: { corrected: first.corrected, reminded: first.reminded, confirmed: isConfirmed(first.message) },
  });
}
