// What calls somebody who does not look: sound, a notification of the system, the title and the sign of the window.

import { category } from "./category.js";
import { play, sounds } from "./sound.js";
import { say } from "./texts.js";

const base = document.documentElement.dataset.base;
/** What must be confirmed is heard again until it is; what need not be, once a minute. */
const AGAIN_MS = { must: 10_000, may: 60_000 };

/** Messages that come within so long are one call. */
const GATHER_MS = 120;
const MOST_NOTICES = 3;

let calls = [];
let gathering = 0;
let plain = "Tidegate";
let count = 0;
let flash = 0;
let even = false;
let again = 0;
let registration = null;
const link = document.querySelector('link[rel="icon"]');

/** The service worker, through which phones show notifications. */
export function through(worker) {
  registration = worker;
}

export const canAsk = () => "Notification" in window && Notification.permission === "default";
export const isDenied = () => "Notification" in window && Notification.permission === "denied";

export async function ask() {
  if (!canAsk()) return;
  try { await Notification.requestPermission(); } catch { /* an old browser */ }
}

/** The title of a window that has nothing to say. */
export function entitle(text) {
  plain = text;
  if (count === 0) document.title = plain;
}

/** A message has come. Those of one moment, as after a night, call once. */
export function call(message, corrected) {
  calls.push({ message, corrected });
  clearTimeout(gathering);
  gathering = setTimeout(callNow, GATHER_MS);
}

function callNow() {
  const all = calls;
  calls = [];
  const { sound } = category(all[0].message.category);
  play(sounds.includes(sound) ? sound : "chime");
  // Before anybody has pressed anything a browser refuses it, and says so aloud.
  if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.([200, 100, 200]);
  if (document.visibilityState === "visible" && document.hasFocus()) return;
  if (!("Notification" in window) || Notification.permission !== "granted") return;
  if (all.length > MOST_NOTICES) {
    notify(say("title_many", all.length), { body: all.map(({ message }) => message.title).join("\n").slice(0, 300), tag: "many" });
    return;
  }
  for (const { message, corrected } of all) {
    const { title } = category(message.category);
    const heading = `${corrected ? say("corrected") : title}: ${message.title}`;
    notify(heading, { body: message.text.slice(0, 300), tag: message.id, requireInteraction: message.must_confirm });
  }
}

async function notify(heading, given) {
  const options = { renotify: true, icon: `${base}icon-192.png`, badge: `${base}icon-192.png`, ...given };
  try {
    if (registration) return await registration.showNotification(heading, options);
    const notification = new Notification(heading, options);
    notification.onclick = () => { window.focus(); notification.close(); };
  } catch { /* the system does not show any; the pop-up stands */ }
}

/** Takes the system's notification of a message away: it was answered, recalled, or its time is over. */
export async function dismiss(id) {
  try {
    for (const shown of (await registration?.getNotifications({ tag: id })) ?? []) shown.close();
  } catch { /* none to close */ }
}

/** How many messages wait for somebody, the first of them. */
export function waiting(number, first) {
  count = number;
  clearInterval(flash);
  clearInterval(again);
  if (navigator.setAppBadge) (number > 0 ? navigator.setAppBadge(number) : navigator.clearAppBadge()).catch(() => {});
  link.href = `${base}${number > 0 ? "favicon-new.svg" : "favicon.svg"}`;
  if (number === 0) {
    document.title = plain;
    return;
  }
  const { sound } = category(first.category);
  const turn = () => {
    even = !even;
    document.title = even ? say("title_many", number) : first.title;
  };
  turn();
  flash = setInterval(turn, 1000);
  again = setInterval(() => play(sound), first.must_confirm ? AGAIN_MS.must : AGAIN_MS.may);
}
