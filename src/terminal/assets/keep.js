// What this terminal keeps: how far it has read, what is still to be shown, what it has shown, and receipts that head office has
// not answered yet. It is one value, so what belongs together is written together: a message is kept before its cursor counts.

const NAME = "tidegate-terminal";
/** Messages whose ids are remembered, so that none is shown twice. */
const MOST_SEEN = 3000;
/** Messages that are kept for a history without connection. */
const MOST_RECENT = 100;

const empty = () => ({ cursor: "", me: null, queue: [], seen: {}, order: [], receipts: {}, recent: [] });

let state = read();
let dirty = false;

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(NAME) ?? "null");
    return kept && typeof kept === "object" ? { ...empty(), ...kept } : empty();
  } catch {
    return empty();
  }
}

function write() {
  dirty = false;
  try {
    localStorage.setItem(NAME, JSON.stringify(state));
  } catch {
    // The disk is full: pictures and texts of old messages are what can be done without.
    state.recent = state.recent.slice(0, 10);
    try { localStorage.setItem(NAME, JSON.stringify(state)); } catch { /* it goes on from memory */ }
  }
}

/** Changes what is kept; written at the end of the task that is running, at most once. */
export function change(edit) {
  edit(state);
  if (dirty) return;
  dirty = true;
  queueMicrotask(write);
}

export const kept = () => state;

/** Another window of this terminal may have written meanwhile. */
export function refresh() {
  state = read();
}

export function forget() {
  state = empty();
  dirty = false;
  localStorage.removeItem(NAME);
}

/** What is known of a message: { version, confirmed }. */
export const seen = (id) => state.seen[id];

export function see(id, version, confirmed) {
  change((all) => {
    if (!all.seen[id]) all.order.push(id);
    all.seen[id] = { version, confirmed: confirmed || Boolean(all.seen[id]?.confirmed) };
    while (all.order.length > MOST_SEEN) delete all.seen[all.order.shift()];
  });
}

/** Keeps a message as the newest, in place of what it was before. */
export function remember(message) {
  change((all) => {
    all.recent = [message, ...all.recent.filter((other) => other.id !== message.id)]
      .sort((one, other) => other.sent_at - one.sent_at)
      .slice(0, MOST_RECENT);
  });
}

export const remembered = (id) => state.recent.find((message) => message.id === id);
