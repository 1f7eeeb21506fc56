// The frame of the page: which run, which view, and what is new of the run.

import { ask, listen, newest } from "./api.js";
import { el, fill, visible } from "./dom.js";
import { joined } from "./curves.js";
import { take } from "./token.js";
import agents from "./agents.js";
import both from "./both.js";
import control from "./control.js";
import experiment from "./experiment.js";
import lineage from "./lineage.js";
import map from "./map.js";
import messages from "./messages.js";
import overview from "./overview.js";
import posts from "./posts.js";
import runs from "./runs.js";
import surveys from "./surveys.js";

// A view is { title, shown(context), open(main, context) }, of a run unless it is `ofPlace` or `ofBoth`; what `open`
// gives may have seen(overview) and close(). All that a view asks ends with context.signal, as the view is left: nothing
// of it comes into the view after it.
const VIEWS = { runs, experiment, overview, map, posts, messages, agents, surveys, lineage, control, both };
const page = { run: undefined, shelf: null, now: null, open: null, source: null, lost: false };
const leave = newest();
const at = (id) => document.getElementById(id);

export function where() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

function link(view, more = {}) {
  return `#${new URLSearchParams({ ...(page.shelf?.alone ? {} : { run: page.run ?? "" }), view, ...more })}`;
}

function context(signal) {
  return { signal, run: page.run, shelf: page.shelf, now: page.now, link, at: where(), go: (view, more) => { location.hash = link(view, more); }, again: shelve };
}

async function shelve() {
  page.shelf = await ask("runs", {});
  fill(at("run"), page.shelf.runs.map((one) => el("option", { value: one.name }, one.name)));
  at("run").value = page.run ?? "";
  at("picker").hidden = page.shelf.alone;
}

async function start() {
  take();
  await shelve();
  at("run").addEventListener("change", (event) => { location.hash = new URLSearchParams({ run: event.target.value, view: "overview" }); });
  addEventListener("hashchange", route);
  addEventListener("focus", again);
  await route();
}

async function route() {
  take();
  const signal = leave(), main = at("main"), asked = where();
  page.open?.close?.();
  page.open = null;
  main.replaceChildren();
  const run = page.shelf.alone ? page.shelf.runs[0].name : asked.run || null;
  const first = page.shelf.experiments.includes(page.shelf.place) ? "experiment" : "runs";
  const name = VIEWS[asked.view] && (run || VIEWS[asked.view].ofPlace || VIEWS[asked.view].ofBoth) ? asked.view : run ? "overview" : first;
  document.title = visible(`${run ?? page.shelf.place} – ${VIEWS[name].title} – populace`);
  try {
    if (run !== page.run || run !== null && !page.now) await choose(run, signal);
    tabs(name);
    page.open = (await VIEWS[name].open(main, context(signal))) ?? null;
    if (page.now) page.open?.seen?.(page.now);
  } catch (error) {
    if (!signal.aborted) fill(main, el("p", { class: "notice bad", role: "alert" }, error.message));
  }
}

async function choose(run, signal) {
  page.source?.close();
  Object.assign(page, { run, now: null, lost: false });
  fill(at("title"), run ?? page.shelf.place);
  at("bar").hidden = at("status").hidden = true;
  at("run").value = run ?? "";
  if (run === null) return;
  page.now = await ask("overview", { run }, signal);
  at("bar").hidden = at("status").hidden = false;
  head();
  if (page.now.status === "at work") follow();
}

function follow() {
  page.source?.close();
  page.source = listen(page.run, {
    seen: (now) => {
      page.now = { ...now, curves: joined(page.now.curves, now.curves) };
      head();
      page.open?.seen?.(page.now);
    },
    lost: (lost) => { if (lost !== page.lost) { page.lost = lost; head(); } },
  });
}

// A run that had ended may have been gone on with: look once when somebody comes back to the page.
async function again() {
  const before = page.now;
  if (!before || before.status === "at work") return;
  try {
    const now = await ask("overview", { run: page.run });
    if (page.now !== before) return; // another run was chosen meanwhile, or more is known of this one
    const changed = now.status !== before.status || now.tick !== before.tick;
    page.now = now;
    head();
    if (changed) page.open?.seen?.(now);
    if (now.status === "at work") follow();
  } catch { /* the page's server is away; what is shown stays */ }
}

function head() {
  const now = page.now;
  fill(at("title"), page.run);
  const pill = at("status");
  pill.className = `pill ${now.status === "at work" ? "work" : now.status}`;
  fill(pill, page.lost ? "the page's server is away" : now.paused_at !== null ? "paused" : now.status);
  const bar = at("bar");
  bar.setAttribute("aria-valuemax", now.ticks);
  bar.setAttribute("aria-valuenow", now.tick);
  const within = now.due ? Math.min(1, now.done / now.due) : 0;
  at("done").style.width = `${now.ticks ? Math.min(100, (100 * (now.tick + within)) / now.ticks) : 0}%`;
}

function tabs(current) {
  const there = Object.entries(VIEWS).filter(([name, view]) => view.shown?.(context()) ?? true);
  fill(at("tabs"), there.map(([name, view]) =>
    el("a", { href: view.ofPlace ? `#view=${name}` : link(name), "aria-current": name === current ? "page" : null }, view.title)));
}

start().catch((error) => fill(at("main"), el("p", { class: "notice bad", role: "alert" }, error.message)));
