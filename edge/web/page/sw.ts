// The service worker: the page's own files are there without a network; keeps no question, no answer.

export {};

declare const self: ServiceWorkerGlobalScope;
/** What the build has made, and a digest over all of it. */
declare const FILES: string[];
declare const VERSION: string;

const CACHE = `escalade-page-${VERSION}`;
const SETTINGS = "demo.json";

self.addEventListener("install", (event) => {
  const all = async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll(FILES.map((name) => new Request(name, { cache: "no-cache" })));
    await self.skipWaiting();
  };
  event.waitUntil(all());
});

self.addEventListener("activate", (event) => {
  const tidy = async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith("escalade-page-") && name !== CACHE) {
        await caches.delete(name);
      }
    }
    await self.clients.claim();
  };
  event.waitUntil(tidy());
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const scope = new URL(self.registration.scope);
  if (event.request.method !== "GET" || !url.href.startsWith(scope.href)) {
    return;
  }
  const name = url.pathname.slice(scope.pathname.length) || "./";
  if (name === SETTINGS) {
    event.respondWith(newest(event.request));
  } else if (FILES.includes(name) || name === "index.html") {
    event.respondWith(kept(name, event.request));
  }
});

async function kept(name: string, request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const found = await cache.match(name === "index.html" ? "./" : name);
  return isolated(found ?? (await fetch(request)));
}

/** What the server says now, or what it said last. */
async function newest(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) {
      await cache.put(request, response.clone());
    }
    return response;
  } catch {
    return (await cache.match(request)) ?? Response.error();
  }
}

/** Threads need a page that is isolated; a plain file server sends no such headers, so this does. */
function isolated(response: Response): Response {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  const { status, statusText, body } = response;
  return new Response(body, { status, statusText, headers });
}
