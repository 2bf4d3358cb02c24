// Receipts: what this terminal has received and confirmed. Each is kept until head office has answered it, over restarts of the
// browser too; sent twice, it counts once.

import { change, kept } from "./keep.js";

const MOST = 200;

/** Receipts of one moment go together; thousands of terminals do not answer in the same millisecond. The node says how far to spread. */
let withinMs = 250;
let timer = 0;
let busy = false;
let failures = 0;
let refused = () => {};
let answered = () => {};

/** `onRefused` is called where this terminal is not (any more) one; `onAnswered` when something was answered. */
export function begin(onRefused, onAnswered) {
  refused = onRefused;
  answered = onAnswered;
  soon(0);
}

export function spread(ms) {
  if (ms > 0) withinMs = ms;
}

export function end() {
  clearTimeout(timer);
  refused = () => {};
}

export function received(id) {
  change((all) => { all.receipts[id] ??= false; });
  soon(Math.random() * withinMs);
}

export function confirmed(id) {
  change((all) => { all.receipts[id] = true; });
  soon(0);
}

/** Whether head office does not know yet that this was confirmed. */
export const isWaiting = (id) => kept().receipts[id] === true;

export function soon(ms) {
  if (busy) return;
  clearTimeout(timer);
  timer = setTimeout(send, ms);
}

async function send() {
  const part = Object.entries(kept().receipts).slice(0, MOST);
  if (busy || part.length === 0) return;
  busy = true;
  const status = await post(part.map(([id, confirmed]) => ({ id, confirmed })));
  busy = false;
  // What can't be understood now never will be.
  const over = (status >= 200 && status < 300) || status === 400 || status === 413 || status === 422;
  if (over) {
    failures = 0;
    change((all) => {
      for (const [id, confirmed] of part) {
        // Confirmed meanwhile: that is another receipt.
        if (all.receipts[id] === confirmed) delete all.receipts[id];
      }
    });
    answered();
    if (Object.keys(kept().receipts).length > 0) soon(0);
    return;
  }
  if (status === 401) return refused();
  failures += 1;
  const most = Math.min(15_000, 500 * 2 ** failures);
  soon(most / 2 + Math.random() * most / 2);
}

async function post(receipts) {
  try {
    const answer = await fetch("/terminal/receipts", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ receipts }),
      cache: "no-store",
      signal: AbortSignal.timeout(10_000),
    });
    return answer.status;
  } catch {
    return 0;
  }
}
