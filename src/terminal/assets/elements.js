// Elements made of parts. What comes from outside only ever becomes text: nothing here reads HTML.

const root = document.documentElement;

export const byId = (id) => document.getElementById(id);

/** make("p", { class: "lead", hidden: true }, "text", element, null) */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A sign out of the console's icons.svg. */
export function icon(name, classes = "icon") {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", classes);
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `${root.dataset.icons}#${name}`);
  svg.append(use);
  return svg;
}

export const badge = (tone, sign, text) => make("span", { class: `badge ${tone}` }, icon(sign), make("span", {}, text));

/** A short notice at the edge of the page that goes by itself. */
export function toast(text) {
  const notice = make("p", { class: "toast" }, text);
  byId("toasts").append(notice);
  setTimeout(() => notice.remove(), 9000);
}
