// The stream of events from whatever node answers. It goes on where it stopped, by the id of the last event that was kept; a
// node that dies costs the time until the next try. What is shown of the connection is decided here.

import { change, kept } from "./keep.js";

const KINDS = ["hello", "message", "correct", "recall", "remind", "gap", "redis", "revoked"];
/** A first failure is not shown for so long: nodes end their streams now and then, and the next one takes over. */
const QUIET_MS = 1500;
const FIRST_MS = 300;
const MOST_MS = 5000;
/** A stream on which nothing at all came for so long is opened anew; nodes end theirs after ten minutes. */
const LONGEST_MS = 11 * 60_000;

let source = null;
let wait = 0;
let tries = 0;
let running = false;
let state = "connecting";
let shown = 0;
let redis = true;
let opened = 0;
let handlers = {};

export const connection = () => state;

function become(next) {
  clearTimeout(shown);
  if (state === next) return;
  state = next;
  handlers.state?.(state);
}

function becomeSoon(next) {
  if (state === next || state === "offline") return;
  clearTimeout(shown);
  shown = setTimeout(() => become(next), QUIET_MS);
}

/** Opens it; `handlers` has a function for each kind of event, `state`, and `lost`, which is asked after failures. */
export function start(given) {
  handlers = given;
  running = true;
  tries = 0;
  connect();
}

export function stop() {
  running = false;
  clearTimeout(wait);
  clearTimeout(shown);
  source?.close();
  source = null;
}

/** Tries at once: the network is back, or somebody looks at the page. */
export function hurry() {
  if (!running) return;
  const stale = Date.now() - opened > LONGEST_MS;
  if (source?.readyState === EventSource.OPEN && !stale) return;
  tries = 0;
  connect();
}

/** A beat did not come through although the stream looks open. */
export function doubt() {
  if (running && source?.readyState === EventSource.OPEN) lost();
}

function connect() {
  clearTimeout(wait);
  source?.close();
  const { cursor } = kept();
  const opening = new EventSource(`/terminal/events${cursor ? `?after=${encodeURIComponent(cursor)}` : ""}`);
  source = opening;
  for (const kind of KINDS) {
    opening.addEventListener(kind, (event) => {
      if (source !== opening) return;
      take(kind, event);
    });
  }
  opening.onerror = () => { if (source === opening) lost(); };
}

function lost() {
  source?.close();
  source = null;
  if (!running) return;
  tries += 1;
  const most = Math.min(MOST_MS, FIRST_MS * 2 ** (tries - 1));
  wait = setTimeout(connect, most / 2 + Math.random() * most / 2);
  if (!navigator.onLine || tries > 4) become("offline");
  else becomeSoon("connecting");
  // A refused terminal looks like a lost connection to an EventSource.
  if (tries > 1) handlers.lost?.();
}

function take(kind, event) {
  let data = {};
  try {
    data = JSON.parse(event.data || "{}");
  } catch {
    return; // not ours
  }
  if (kind === "hello") {
    tries = 0;
    opened = Date.now();
    redis = data.redis !== false;
    become(redis ? "on" : "away");
  }
  if (kind === "redis") {
    redis = data.up !== false;
    become(redis ? "on" : "away");
  }
  handlers[kind]?.(data);
  // After it was kept, and never before.
  if (event.lastEventId) change((all) => { all.cursor = event.lastEventId; });
}
