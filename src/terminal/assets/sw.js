// The terminal's service worker: the page opens without connection, and a press on a notification leads to it. Messages never go
// through here; the page reads them itself.
"use strict";

const CACHE = "tidegate-terminal-{{version}}";
const PAGE = "/terminal";
const FILES = {{files}};
/** Longest wait for the page from the network, before the one that is kept is shown. */
const PATIENCE_MS = 4000;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([PAGE, ...FILES])).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith("tidegate-terminal-") && name !== CACHE;
  event.waitUntil(
    caches.keys()
      .then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()));
});

async function page(request) {
  const ends = new AbortController();
  const limit = setTimeout(() => ends.abort(), PATIENCE_MS);
  try {
    const answer = await fetch(request, { signal: ends.signal });
    if (answer.ok) return answer;
  } catch { /* the one that is kept */ } finally {
    clearTimeout(limit);
  }
  const known = await caches.match(PAGE);
  return known ?? Response.error();
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (request.mode === "navigate" && (url.pathname === PAGE || url.pathname === `${PAGE}/`)) {
    event.respondWith(page(request));
  } else if (FILES.includes(url.pathname + url.search)) {
    event.respondWith(caches.match(request).then((known) => known ?? fetch(request)));
  }
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const find = async () => {
    const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    const open = windows.find((one) => new URL(one.url).pathname === PAGE);
    return open ? open.focus() : self.clients.openWindow(PAGE);
  };
  event.waitUntil(find());
});
