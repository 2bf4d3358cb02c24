// Sounds of the categories, made by the browser itself: no files. A browser stays silent until somebody has pressed something
// on the page; `unlock` is called then.

const C5 = 523.25, E5 = 659.26, G5 = 783.99, A5 = 880, C6 = 1046.5, E6 = 1318.5;
// Each: pitch in Hz, begin in s, length in s, shape, strength.
const bell = (pitch, at) => [
  [pitch, at, 1.6, "sine", 0.5], [pitch * 2.76, at, 0.9, "sine", 0.22], [pitch * 5.4, at, 0.45, "sine", 0.1],
];
const SOUNDS = {
  chime: [[E6, 0, 0.5, "sine", 0.45], [C6, 0.22, 0.9, "sine", 0.45]],
  bell: [...bell(A5, 0), ...bell(A5, 0.55)],
  ping: [[E6, 0, 0.28, "triangle", 0.5]],
  rise: [[C5, 0, 0.22, "triangle", 0.45], [E5, 0.16, 0.22, "triangle", 0.45], [G5, 0.32, 0.22, "triangle", 0.45], [C6, 0.48, 0.6, "triangle", 0.5]],
  alert: [0, 1, 2, 3].flatMap((turn) => [[A5, turn * 0.44, 0.2, "square", 0.28], [E5, turn * 0.44 + 0.22, 0.2, "square", 0.28]]),
  none: [],
};
export const sounds = Object.keys(SOUNDS);

let context = null;
let volume = 0.8;

function open() {
  const Context = window.AudioContext ?? window.webkitAudioContext;
  if (!context && Context) context = new Context();
  return context;
}

/** Whether it can be heard. */
export const isOn = () => context?.state === "running";

/** Between 0 and 1. */
export function loud(share) {
  volume = Math.min(1, Math.max(0, share));
}

/** Inside of what the browser takes for a gesture. True if sounds can be heard from now on. */
export async function unlock() {
  const context = open();
  if (!context) return false;
  if (context.state !== "running") {
    // A browser that does not allow it leaves the promise open.
    await Promise.race([context.resume(), new Promise((done) => setTimeout(done, 400))]).catch(() => {});
  }
  return isOn();
}

/** Plays the sound of this name once, if it may. */
export function play(name) {
  if (!isOn()) return false;
  const notes = SOUNDS[name] ?? SOUNDS.chime;
  const master = context.createGain();
  master.gain.value = volume;
  master.connect(context.destination);
  for (const [pitch, begin, length, shape, strength] of notes) {
    const at = context.currentTime + 0.02 + begin;
    const tone = context.createOscillator();
    const gain = context.createGain();
    tone.type = shape;
    tone.frequency.value = pitch;
    gain.gain.setValueAtTime(0.0001, at);
    gain.gain.exponentialRampToValueAtTime(strength, at + 0.012);
    gain.gain.exponentialRampToValueAtTime(0.0001, at + length);
    tone.connect(gain).connect(master);
    tone.start(at);
    tone.stop(at + length + 0.05);
  }
  return true;
}
