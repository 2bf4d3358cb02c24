// How categories look: names, colours, signs and sounds. Those of head office come with `me`; an unknown one is a plain message.

import { kept } from "./keep.js";
import { language } from "./texts.js";

const COLOURS = ["teal", "blue", "green", "amber", "red", "purple", "pink", "grey"];
const SIGNS = ["megaphone", "tag", "percent", "gift", "truck", "box", "clock", "calendar", "warning", "info", "star", "wrench"];
const PLAIN = { name: "", title: "Message", title_id: "Pesan", colour: "grey", icon: "megaphone", sound: "chime" };

export const isKnown = (name) => Boolean(kept().me?.categories?.some((one) => one.name === name));

export function category(name) {
  const known = kept().me?.categories?.find((one) => one.name === name) ?? { ...PLAIN, title: name || PLAIN.title };
  return {
    title: (language() === "id" && known.title_id) || known.title,
    colour: COLOURS.includes(known.colour) ? known.colour : "grey",
    sign: SIGNS.includes(known.icon) ? known.icon : "megaphone",
    sound: known.sound ?? "chime",
  };
}
