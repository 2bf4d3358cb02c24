// The web terminal: what a shop's screen is between being connected once and being revoked. This file ties the parts together:
// who it is, one window of several, the stream, the pop-up, the history.

import * as attention from "./attention.js";
import { isKnown } from "./category.js";
import { byId, make } from "./elements.js";
import * as history from "./history.js";
import { change, forget, kept, refresh } from "./keep.js";
import * as messages from "./messages.js";
import * as popup from "./popup.js";
import * as receipts from "./receipts.js";
import * as sound from "./sound.js";
import * as stream from "./stream.js";
import { inscribe, language, say, speak } from "./texts.js";

const root = document.documentElement;
const VIEWS = ["wait", "enrol", "revoked", "elsewhere", "home"];
const THEME = "tidegate-theme";
const VOLUME = "tidegate-volume";
const LOCK = "tidegate-terminal";

let beats = null;
let running = false;
let doubts = 0;
let worker = null;
let offered = null;
let leading = false;

// ---- What is seen -------------------------------------------------------------------------------------------------------

function show(view) {
  for (const name of VIEWS) byId(`view-${name}`).hidden = name !== view;
  byId("connection").hidden = view !== "home";
  if (view === "elsewhere" || view === "revoked") byId(`view-${view}`).querySelector("h1").tabIndex = -1;
}

function showTerminal() {
  const terminal = kept().me?.terminal;
  const shop = terminal?.shop;
  byId("shop").textContent = shop ? shop.title || shop.name : "Tidegate";
  byId("name").textContent = terminal?.name ?? "";
  attention.entitle(shop ? `${shop.title || shop.name} · Tidegate` : "Tidegate");
  const fact = (name, value) => (value ? [make("dt", {}, say(name)), make("dd", {}, value)] : []);
  byId("about").replaceChildren(
    ...fact("shop", shop && (shop.title || shop.name)), ...fact("region", shop?.region),
    ...fact("terminal", terminal?.name), ...fact("number", terminal?.id));
}

function showConnection() {
  const state = stream.connection();
  const word = { on: "connected", connecting: "connecting", offline: "offline", away: "away" }[state];
  const chip = byId("connection");
  chip.dataset.state = state;
  chip.firstElementChild.textContent = say(word);
  byId("away").hidden = state !== "offline" && state !== "away";
  byId("away-text").textContent = say(state === "away" ? "away_text" : "offline_text");
}

function showWants() {
  byId("wants-sound").hidden = sound.isOn();
  const denied = attention.isDenied();
  byId("wants-notices").hidden = !denied && !attention.canAsk();
  byId("wants-notices-text").textContent = say(denied ? "notices_denied" : "notices_ask");
  byId("notices-on").hidden = denied;
}

function dress(theme) {
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  else delete root.dataset.theme;
}

function redraw() {
  inscribe();
  showTerminal();
  showConnection();
  showWants();
  history.draw();
  if (popup.isOpen() && popup.current()?.mode === "new") messages.next();
}

// ---- Being connected ----------------------------------------------------------------------------------------------------

const codeOfLink = () => new URLSearchParams(location.hash.slice(1)).get("code") ?? "";

/** Four letters, a dash, four letters, as it is written in the console. */
function spaced(text) {
  const letters = text.toUpperCase().replace(/[^A-Z0-9]/g, "").slice(0, 12);
  return letters.match(/.{1,4}/g)?.join("-") ?? "";
}

function askForCode() {
  halt();
  const code = codeOfLink();
  // A code works once; it need not stay in the address.
  if (code) window.history.replaceState(null, "", "/terminal");
  byId("code").value = spaced(code);
  byId("code-error").textContent = "";
  const known = kept().me?.terminal;
  byId("enrol-again").hidden = !known;
  byId("enrol-again").textContent = known ? say("enrol_again", `${known.shop?.title || known.shop?.name || ""} · ${known.name}`) : "";
  byId("enrol-cancel").hidden = !known;
  show("enrol");
  if (!code) byId("code").focus();
}

byId("code").addEventListener("input", (event) => {
  const field = event.target;
  // Only at its end: in the middle the cursor would jump.
  if (event.inputType?.startsWith("delete") || field.selectionStart !== field.value.length) return;
  field.value = spaced(field.value);
});

/** Goes on in this window, which may have to become the one that is the terminal. */
const proceed = (options) => (leading ? start() : lead(options));

byId("enrol-cancel").addEventListener("click", () => proceed({ ifAvailable: true }));
byId("enrol-anew").addEventListener("click", askForCode);

byId("enrol-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const code = spaced(byId("code").value);
  const failed = (name) => {
    byId("code-error").textContent = say(name);
    byId("code").setAttribute("aria-invalid", "true");
    byId("code").focus();
  };
  byId("code").removeAttribute("aria-invalid");
  byId("code-error").textContent = "";
  if (!code) return failed("code_empty");
  const button = event.target.querySelector("button");
  button.disabled = true;
  // The one gesture: both must be asked for inside of it.
  const heard = sound.unlock();
  const asked = attention.ask();
  let status = 0;
  let answer = null;
  try {
    const given = await fetch("/terminal/enrol", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ code, token: false }),
      signal: AbortSignal.timeout(10_000),
    });
    status = given.status;
    answer = await given.json().catch(() => null);
  } catch { /* told below */ }
  await Promise.race([Promise.all([heard, asked]), new Promise((done) => setTimeout(done, 500))]);
  button.disabled = false;
  if (status === 200 && answer?.terminal) {
    forget();
    change((all) => { all.me = { terminal: answer.terminal, categories: [] }; });
    return proceed({ steal: true });
  }
  if (status === 0) return failed("code_offline");
  if (status === 429) return failed("code_often");
  if (status >= 500) return failed("code_away");
  return failed("code_wrong");
});

/** What head office says of this terminal: "yes", "no", "revoked", or "unknown" without connection. */
async function whoami() {
  try {
    const answer = await fetch("/terminal/me", { cache: "no-store", signal: AbortSignal.timeout(8000) });
    if (answer.status === 401) {
      const problem = await answer.json().catch(() => ({}));
      return problem.code === "revoked" || String(problem.type ?? "").endsWith("revoked") ? "revoked" : "no";
    }
    if (!answer.ok) return "unknown";
    const me = await answer.json();
    change((all) => { all.me = me; });
    messages.begin(me.now, changed);
    return "yes";
  } catch {
    return "unknown";
  }
}

function changed(message) {
  history.update(message);
}

/** Head office does not know this terminal, or no longer: nothing of the shop stays here. */
async function refused() {
  const known = Boolean(kept().me);
  const answer = await whoami();
  if (answer === "yes" || answer === "unknown") return;
  halt();
  forget();
  popup.hide();
  history.clear();
  attention.waiting(0);
  showTerminal();
  if (answer === "revoked" || known) show("revoked");
  else askForCode();
}

// ---- Running ------------------------------------------------------------------------------------------------------------

async function start() {
  halt();
  show("wait");
  const answer = await whoami();
  if (answer === "revoked") {
    forget();
    showTerminal();
    return show("revoked");
  }
  if (answer === "no") {
    forget();
    showTerminal();
    return askForCode();
  }
  if (!kept().me) return askForCode(); // never connected, and no connection now
  run();
}

function run() {
  running = true;
  show("home");
  showTerminal();
  showWants();
  history.load();
  receipts.begin(refused, () => history.draw());
  stream.start({
    state: showConnection,
    lost: refused,
    hello(data) {
      receipts.spread(data.answer_within_ms);
      if (data.terminal && JSON.stringify(data.terminal) !== JSON.stringify(kept().me?.terminal)) {
        // Another shop's messages are not for this one's screen.
        const moved = data.terminal.shop?.name !== kept().me?.terminal?.shop?.name;
        change((all) => {
          all.me = { ...all.me, terminal: data.terminal };
          if (moved) all.recent = [];
        });
        showTerminal();
        history.load();
      } else if (history.isOffline()) {
        history.load();
      }
      receipts.soon(0);
    },
    async message(data) {
      if (!isKnown(data.category)) whoami().then(() => { if (popup.isOpen()) messages.next(); });
      messages.arrive(data);
    },
    correct: messages.arrive,
    recall: messages.recall,
    remind: (data) => messages.remind(data, history.find),
    gap() {
      byId("gap").hidden = false;
      history.load();
    },
    redis() {
      receipts.soon(0);
      if (history.isOffline()) history.load();
    },
    revoked: refused,
  });
  showConnection();
  beats = new Worker(new URL("./beat.js", import.meta.url));
  beats.onmessage = ({ data }) => {
    if (data.status === 401) return refused();
    doubts = data.status >= 200 && data.status < 300 ? 0 : doubts + (data.status === 0 ? 1 : 0);
    if (doubts >= 2) stream.doubt();
  };
  beats.postMessage({ every: kept().me?.beat_s || 20 });
  messages.next();
}

function halt() {
  running = false;
  beats?.terminate();
  beats = null;
  receipts.end();
  stream.stop();
}

/** Only one window of a browser is the terminal: with two, everything would come and sound twice. */
function lead(options) {
  // Kept until the window closes.
  const hold = () => new Promise(() => {
    leading = true;
    refresh();
    start();
  });
  if (!navigator.locks) return void start();
  navigator.locks.request(LOCK, options, (lock) => {
    if (lock) return hold();
    show("elsewhere");
    lead({});
    return undefined;
  }).catch(() => {
    // Another window took it over.
    leading = false;
    halt();
    popup.hide();
    attention.waiting(0);
    show("elsewhere");
    lead({});
  });
}

byId("use-here").addEventListener("click", () => {
  sound.unlock();
  lead({ steal: true });
});

// ---- What somebody presses ----------------------------------------------------------------------------------------------

popup.listen({
  answer(message) {
    if (popup.current()?.mode === "try") return endTrial();
    messages.answer(message);
  },
  close() {
    popup.hide();
    messages.next();
  },
});

history.begin((message) => popup.show(message, { mode: "read", state: history.stateOf(message) }), refused);

byId("sound-on").addEventListener("click", async () => {
  if (await sound.unlock()) sound.play("chime");
  showWants();
});
byId("notices-on").addEventListener("click", async () => {
  await attention.ask();
  showWants();
});
byId("gap-close").addEventListener("click", () => { byId("gap").hidden = true; });

// Any press will do for the sound.
for (const kind of ["pointerdown", "keydown"]) {
  addEventListener(kind, async () => {
    if (sound.isOn() || !running) return;
    if (await sound.unlock()) showWants();
  }, { capture: true });
}

byId("open-options").addEventListener("click", () => {
  byId("language").value = language();
  byId("theme").value = localStorage.getItem(THEME) ?? "";
  byId("install").hidden = !offered;
  byId("try").hidden = !running;
  byId("options").showModal();
});
byId("options-close").addEventListener("click", () => byId("options").close());
byId("language").addEventListener("change", (event) => {
  speak(event.target.value);
  redraw();
});
byId("theme").addEventListener("change", (event) => {
  localStorage.setItem(THEME, event.target.value);
  dress(event.target.value);
});
byId("volume").addEventListener("change", (event) => {
  localStorage.setItem(VOLUME, event.target.value);
  sound.loud(Number(event.target.value) / 100);
  sound.play("ping");
});

byId("try").addEventListener("click", async () => {
  byId("options").close();
  await sound.unlock();
  const message = {
    id: "trial", category: "announcement", title: say("try_title"), text: say("try_text"), image: null,
    sent_at: Date.now(), valid_until: null, must_confirm: false, corrected_at: null,
  };
  attention.call(message, false);
  popup.show(message, { mode: "try" });
});

function endTrial() {
  attention.dismiss("trial");
  popup.hide();
  showWants();
  messages.next();
}

addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  offered = event;
});
byId("install").addEventListener("click", async () => {
  await offered?.prompt();
  offered = null;
  byId("install").hidden = true;
});

// ---- The world around ---------------------------------------------------------------------------------------------------

addEventListener("online", () => { stream.hurry(); receipts.soon(0); });
addEventListener("offline", () => { stream.hurry(); });
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !running) return;
  stream.hurry();
  beats?.postMessage({ every: kept().me?.beat_s || 20 });
});
addEventListener("hashchange", () => { if (codeOfLink()) askForCode(); });
// Texts such as "today" grow old.
setInterval(() => { if (running && !document.hidden) history.draw(); }, 10 * 60_000);

async function serve() {
  if (!("serviceWorker" in navigator)) return;
  try {
    worker = await navigator.serviceWorker.register("/terminal/sw.js", { scope: "/terminal", updateViaCache: "none" });
    attention.through(worker);
  } catch { /* without it the page is not there without connection; all else works */ }
}

messages.begin(null, changed);
dress(localStorage.getItem(THEME));
byId("volume").value = localStorage.getItem(VOLUME) ?? "80";
sound.loud(Number(byId("volume").value) / 100);
inscribe();
show("wait");
serve();
if (codeOfLink()) askForCode();
else lead({ ifAvailable: true });
