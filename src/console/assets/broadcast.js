// Writing a message: what the shop will see stands beside the form and changes with it; regions take their shops along; a
// picture is made small enough here; what was typed is not lost. Without scripts the form is sent as it is.

const MOST_IMAGE = 512 * 1024;
const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif"];
/** The longer side of a picture that was too large, in pixels; then smaller. */
const SIDES = [1600, 1200, 900, 640];
const DRAFT = "tidegate-draft";

const root = document.documentElement;
root.classList.add("scripted");
const byId = (id) => document.getElementById(id);
const form = () => byId("compose");

// ---- What the shop sees -------------------------------------------------------------------------------------------------

function preview() {
  const box = byId("preview");
  if (!box) return;
  const { dataset } = box;
  const chosen = form().querySelector('input[name="category"]:checked');
  if (chosen) {
    box.className = `popup preview-popup colour-${chosen.dataset.colour}`;
    const sign = byId("preview-sign");
    sign.setAttribute("href", `${sign.getAttribute("href").split("#")[0]}#${chosen.dataset.icon}`);
    byId("preview-category").textContent = chosen.dataset.title;
  }
  const must = byId("must-confirm").checked;
  byId("preview-must").hidden = !must;
  byId("preview-button").lastElementChild.textContent = must ? dataset.confirm : dataset.ok;
  byId("preview-heading").textContent = byId("title").value.trim() || dataset.noTitle;
  byId("preview-text").textContent = byId("text").value || dataset.noText;
  const until = byId("valid-until").value;
  const told = byId("preview-until");
  const format = new Intl.DateTimeFormat(root.lang, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
  told.textContent = until ? told.dataset.until.replace("{}", () => format.format(new Date(until))) : "";
}

function count() {
  for (const counter of document.querySelectorAll("[data-count]")) {
    const [length, most] = [[...byId(counter.dataset.count).value].length, Number(counter.dataset.most)];
    counter.textContent = `${length} / ${most}`;
    counter.classList.toggle("near", length > most * 0.9);
  }
}

function label() {
  const button = byId("send");
  if (!button?.dataset.send) return;
  button.querySelector("span").textContent = byId("send-at")?.value ? button.dataset.schedule : button.dataset.send;
}

// ---- Times are the reader's own -----------------------------------------------------------------------------------------

const local = (ms) => {
  const moment = new Date(ms);
  return new Date(ms - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};

function zone(field) {
  byId(field.dataset.zone).value = field.value ? String(new Date(field.value).getTimezoneOffset()) : "";
}

function localise(field) {
  const from = byId(field.dataset.zone);
  if (field.value) {
    const moment = Date.parse(`${field.value.slice(0, 16)}:00Z`) + Number(from.value || 0) * 60_000;
    if (!Number.isNaN(moment)) field.value = local(moment);
  }
  zone(field);
}

// ---- To whom ------------------------------------------------------------------------------------------------------------

/** A region that is chosen takes all of its shops along, those to come too. */
function takeAlong() {
  for (const region of document.querySelectorAll(".tree-region")) {
    const box = region.querySelector('input[name="region"]');
    const shops = [...region.querySelectorAll('input[name="shop"]')];
    const taken = Boolean(box?.checked);
    for (const shop of shops) {
      if (taken && !shop.disabled) shop.dataset.own = String(shop.checked);
      if (!taken && shop.disabled) shop.checked = shop.dataset.own === "true";
      if (taken) shop.checked = true;
      // What is disabled is not sent: the region stands for it.
      shop.disabled = taken;
    }
    region.classList.toggle("taken", taken);
    if (box) box.indeterminate = !box.checked && shops.some((shop) => shop.checked);
  }
}

function search() {
  const words = byId("tree-search").value.trim().toLowerCase();
  let found = 0;
  for (const region of document.querySelectorAll(".tree-region")) {
    const whole = region.dataset.words.includes(words);
    let here = 0;
    for (const shop of region.querySelectorAll(".tree-shop")) {
      const fits = whole || shop.dataset.words.includes(words);
      shop.hidden = !fits;
      here += fits ? 1 : 0;
    }
    region.hidden = !whole && here === 0;
    if (words && !region.hidden) region.querySelector("details").open = true;
    found += region.hidden ? 0 : 1;
  }
  byId("tree-none").hidden = found > 0;
}

// ---- A picture ----------------------------------------------------------------------------------------------------------

const base64 = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(String(reader.result).split(",")[1] ?? "");
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(blob);
});

function draw(canvas, bitmap, side) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
}

async function small(file, bitmap) {
  if (file.size <= MOST_IMAGE && KINDS.includes(file.type)) return file;
  const canvas = document.createElement("canvas");
  for (const side of SIDES) {
    draw(canvas, bitmap, side);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/webp", 0.85));
    if (blob && KINDS.includes(blob.type) && blob.size <= MOST_IMAGE) return blob;
  }
  return null;
}

async function showPicture(blob) {
  const bitmap = await createImageBitmap(blob);
  draw(byId("preview-image"), bitmap, 900);
  byId("preview-image").hidden = false;
  byId("preview-kept")?.remove();
  byId("image-shown").hidden = false;
  return bitmap;
}

async function pick(file) {
  const wrong = byId("image-error");
  wrong.textContent = "";
  try {
    const bitmap = await createImageBitmap(file);
    const blob = await small(file, bitmap);
    if (!blob) {
      wrong.textContent = wrong.dataset.large;
      return;
    }
    byId("image").value = await base64(blob);
    byId("kept-image").value = "";
    await showPicture(blob);
  } catch {
    wrong.textContent = wrong.dataset.odd;
  }
}

function unpick() {
  byId("image").value = "";
  byId("kept-image").value = "";
  byId("image-file").value = "";
  byId("image-error").textContent = "";
  byId("preview-image").hidden = true;
  byId("preview-kept")?.remove();
  byId("image-shown").hidden = true;
}

async function repicture() {
  const kept = byId("image").value;
  if (!kept) return;
  const bytes = Uint8Array.from(atob(kept), (letter) => letter.charCodeAt(0));
  await showPicture(new Blob([bytes])).catch(() => {});
}

// ---- What was typed is not lost -----------------------------------------------------------------------------------------

function keep() {
  if (!form()?.matches("[data-draft]")) return;
  const [title, text] = [byId("title").value, byId("text").value];
  if (title || text) sessionStorage.setItem(DRAFT, JSON.stringify({ title, text }));
  else sessionStorage.removeItem(DRAFT);
}

function restore() {
  if (!form().matches("[data-draft]") || byId("title").value || byId("text").value) return;
  const draft = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
  if (!draft) return;
  byId("title").value = draft.title;
  byId("text").value = draft.text;
}

function failed() {
  const banner = byId("failed");
  if (!banner) return;
  banner.hidden = false;
  banner.scrollIntoView({ block: "center" });
}

// ---- All of it ----------------------------------------------------------------------------------------------------------

function begin() {
  document.querySelectorAll("[data-file-field]").forEach((field) => { field.hidden = false; });
  if (!form()) return;
  restore();
  form().querySelectorAll("[data-zone]").forEach(localise);
  takeAlong();
  preview();
  count();
  label();
  repicture();
}

document.addEventListener("input", ({ target }) => {
  if (!target.closest("#compose")) return;
  if (target.id === "tree-search") return search();
  if (target.dataset.zone) zone(target);
  preview();
  count();
  label();
  keep();
});

document.addEventListener("change", ({ target }) => {
  if (!target.closest("#compose")) return;
  if (target.id === "image-file" && target.files[0]) pick(target.files[0]);
  if (target.name === "region") takeAlong();
  if (target.name === "shop") takeAlong();
  preview();
});

document.addEventListener("click", async ({ target }) => {
  if (target.closest("#image-remove")) unpick();
  const button = target.closest("[data-listen]");
  if (!button) return;
  const { sounds } = button.closest("[data-sounds]").dataset;
  const sound = await import(sounds);
  if (await sound.unlock()) sound.play(button.dataset.listen);
});

// A search is no answer to the form.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.id === "tree-search") event.preventDefault();
});

// What says the same is not said again to whoever listens.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const { target, xhr } = detail;
  if (target.matches(".reach") && target.dataset.said === xhr.responseText) detail.shouldSwap = false;
  else if (target.matches(".reach")) target.dataset.said = xhr.responseText;
});
document.addEventListener("htmx:afterSettle", ({ target }) => { if (target.id === "compose") begin(); });
for (const kind of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(kind, ({ target }) => { if (target.id === "compose") failed(); });
}
document.addEventListener("htmx:afterRequest", ({ target, detail }) => {
  if (target.id === "compose" && detail.xhr.getResponseHeader("HX-Redirect")) sessionStorage.removeItem(DRAFT);
});

begin();
