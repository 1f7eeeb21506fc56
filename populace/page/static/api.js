// What the page's server is asked. Everything goes to where the page came from.

import { held } from "./token.js";

export class Refused extends Error {}

function address(view, given) {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) {
    if (value !== null && value !== undefined && value !== "") asked.set(name, value);
  }
  return `/api/${view}?${asked}`;
}

async function answered(view, given, signal) {
  return good(await fetch(address(view, given), { signal }));
}

async function good(response) {
  if (response.ok) return response;
  let why = `the page's server said ${response.status}`;
  try { why = (await response.json()).error ?? why; } catch { /* it said no more */ }
  throw new Refused(why);
}

export async function ask(view, given, signal) {
  return (await answered(view, given, signal)).json();
}

// Has something done. It needs the page's token; what is refused says why.
export async function act(action, given) {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${held() ?? ""}` };
  return (await good(await fetch(`/api/${action}`, { method: "POST", headers, body: JSON.stringify(given) }))).json();
}

// For what was asked last to be what is shown: each signal that this gives ends the one before, and all end with those
// given.
export function newest(...within) {
  let last = new AbortController();
  return () => {
    last.abort();
    last = new AbortController();
    return AbortSignal.any([...within, last.signal]);
  };
}

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// The same for what may have to be made ready first; `waiting` is told how far that is.
export async function askReady(view, given, { signal, waiting = () => {} } = {}) {
  for (;;) {
    const found = await ask(view, given, signal);
    if (found.ready !== false) return found;
    waiting(found.share);
    await pause(250);
    if (signal?.aborted) throw new DOMException("left", "AbortError");
  }
}

// Columns of numbers as they lie in memory, with what was said about them; null while they are made ready.
export async function askColumns(view, given, signal) {
  const response = await answered(view, given, signal);
  if (response.headers.get("Content-Type") !== "application/octet-stream") return null;
  return { data: await response.arrayBuffer(), about: JSON.parse(response.headers.get("X-About")) };
}

// Listens to a run until it has ended. `lost` is told when the page's server is away, and again (false) when it is back.
export function listen(run, { seen, lost }) {
  const source = new EventSource(address("stream", { run }));
  source.addEventListener("seen", (event) => { lost(false); seen(JSON.parse(event.data)); });
  source.addEventListener("end", (event) => { lost(false); source.close(); seen(JSON.parse(event.data)); });
  source.onerror = () => lost(true); // the browser tries again by itself
  return source;
}
