// Who is tied to whom, coloured by a field, and played over ticks.

import { ask, askColumns, askReady, newest, pause } from "./api.js";
import { css, NONE, palette } from "./colours.js";
import { counted, el, fill, number, table } from "./dom.js";
import { Stage } from "./stage.js";
import { openTown } from "./town.js";

const KEPT_BYTES = 64 * 2 ** 20;
const SOURCES = {
  city: "Where the residents are at this tick, among the places of the city (squares).",
  network: "The network as it stood at this tick.", contacts: "Who has written to whom, up to this tick.",
  places: "Where agents are, by their own fields.", none: "This run has no ties on record.",
};

export default {
  title: "Map",
  shown: (context) => context.run !== null,
  async open(main, context) {
    const { run, signal } = context, choose = newest(signal);
    const over = el("div", { class: "over", role: "status" }, "Making the map ready …");
    const canvas = el("canvas", { class: "all", tabindex: "0", role: "img", "aria-label": "Map of agents. Arrow keys move, plus and minus zoom; values are in the table below." });
    const slider = el("input", { type: "range", min: "0", max: "0", value: "0", "aria-label": "Tick" });
    const play = el("button", { class: "main", "aria-pressed": "false" }, "Play"), at = el("span", { class: "at" }, "");
    const speed = el("select", { "aria-label": "Ticks a second" }, [2, 5, 10, 25].map((one) => el("option", { value: String(one), selected: one === 5 }, `${one}/s`)));
    const field = el("select", { id: "colour" }), legend = el("div", { class: "legend" }), counts = el("div", { class: "scroll" });
    const chosen = el("div"), shown = el("p", { class: "soft small" }), placed = el("div");
    const ties = el("input", { type: "checkbox", id: "ties" }), tied = el("label", { class: "tick small soft", for: "ties", hidden: true }, ties, " ties among them");
    const number_ = el("input", { type: "number", min: "0", "aria-label": "Agent's number", placeholder: "number" });
    const stage = new Stage(canvas, (agent) => pick(agent));
    fill(main, el("div", { class: "map" },
      el("section", { class: "card stage", "aria-label": "Map" }, canvas, over,
        el("div", { class: "zoom" }, el("button", { onclick: () => stage.move(1.4), "aria-label": "Zoom in" }, "+"), el("button", { onclick: () => stage.move(1 / 1.4), "aria-label": "Zoom out" }, "−")),
        el("div", { class: "play" }, play, slider, at, speed)),
      el("div", { class: "grid" },
        el("section", { class: "card" }, el("h2", {}, el("label", { for: "colour" }, "Colour")), field, legend),
        el("section", { class: "card" }, el("h2", {}, "Agent"), el("form", { class: "row", onsubmit: (event) => { event.preventDefault(); pick(Number(number_.value)); } }, number_, el("button", {}, "Find")), chosen),
        el("section", { class: "card" }, el("h2", {}, "At this tick"), shown, tied, el("details", { open: true }, el("summary", {}, "Values"), counts), placed))));

    let about = null, drawn = null, tick = 0, playing = 0, frames = new Map(), held = 0, colours = [], wanted = 0, told = 0, taken = 0, followed = true, town = null;
    const latest = () => Math.max(about.first + about.ticks - 1, town?.last ?? 0);

    async function frame(of) {
      const key = Math.min(of, Math.max(0, about.first + about.ticks - 1));
      if (frames.has(key)) return frames.get(key);
      const known = frames;
      const found = await askColumns("frames", { run, field: about.field, start: key, count: 24 }, signal);
      if (known !== frames) return frame(of); // another colour, or another scale of it, since
      if (!found) return null;
      const { start, count, agents, ticks } = found.about;
      for (let one = 0; one < count; one += 1) {
        if (start + one >= about.first + ticks - 1) break; // the last one may not be whole
        frames.set(start + one, new Uint8Array(found.data, one * agents, agents));
        held += agents;
      }
      while (held > KEPT_BYTES && frames.size > 48) { const [old, codes] = frames.entries().next().value; frames.delete(old); held -= codes.length; }
      return new Uint8Array(found.data, 0, agents);
    }

    async function positions(of) {
      if (town) return town.whereabouts(of);
      if (!drawn.plane) return {};
      const [x, y] = await Promise.all(drawn.plane.map((name) => askColumns("frames", { run, field: name, start: of, count: 1, exact: true }, signal)));
      if (!x || !y) return {};
      return { places: flat(new Float32Array(x.data), new Float32Array(y.data), x.about, y.about, drawn.plane[0] !== "x") };
    }

    const ofTies = (of) => (town ? ties.checked : drawn.changes || drawn.kind === "contacts") ? askColumns("edges", { run, tick: of }, signal) : null;

    async function show(of, within = 0) {
      if (!about) return;
      const mine = ++wanted;
      tick = of;
      slider.value = String(of);
      fill(at, `tick ${number(of)}`);
      const [codes, { places, counts }, edges] = await Promise.all([frame(of), positions(of), ofTies(of)]);
      if (mine !== wanted) return;
      if (counts) located(counts, of);
      if (places && town && !edges) stage.glide(places, within);
      else if (places) stage.set({ places });
      if (edges || places && !town) stage.setEdges(edges ? new Int32Array(edges.data) : stage.edges);
      if (edges) said(edges.about.of, edges.data.byteLength / 8);
      stage.set({ codes });
      if (codes) histogram(codes);
      who();
    }

    function said(of, seen) {
      fill(shown, `${SOURCES[drawn.kind]} ${counted(drawn.agents, "agent")}, ${counted(of, "edge")}${town && !ties.checked ? "" : seen < of ? `, ${number(seen)} of them drawn` : ""}.`,
        drawn.keeps_town || town ? "" : " The run does not keep where residents of a city are: record.whereabouts is false.");
    }

    // How many are at which kind of place: what the canvas shows of a city, for who does not see it.
    function located(much, of) {
      if (about?.field === drawn.fields[0]) return fill(placed);
      const rows = much.map((count, one) => [drawn.town.labels[one], number(count)]).filter((row, one) => one < drawn.town.kinds.length || much[one]);
      return fill(placed, el("details", { open: true }, el("summary", {}, "Where they are"), table(`Residents at tick ${of}`, [["at", false], ["residents", true]], rows)));
    }

    function histogram(codes) {
      const bins = about.kind === "text" ? about.labels.length : about.kind === "truth" ? 2 : 10, much = new Array(bins).fill(0);
      let none = 0;
      for (const code of codes) {
        if (code === 255) none += 1;
        else much[about.kind === "text" ? Math.min(code, bins - 1) : Math.min(bins - 1, Math.floor((code / 255) * bins))] += 1;
      }
      const span = (about.high - about.low) / bins;
      const name = (one) => about.kind === "text" ? about.labels[one] : about.kind === "truth" ? ["no", "yes"][one] : `${number(about.low + one * span, 3)} to ${number(about.low + (one + 1) * span, 3)}`;
      const rows = much.map((count, one) => [name(one), number(count), bar(count, Math.max(1, ...much), one, bins)]).filter((row, one) => about.kind !== "text" || much[one]);
      if (none) rows.push(["no value", number(none), ""]);
      fill(counts, table(`${about.field} at tick ${tick}`, [[about.field, false], ["agents", true], ["", false]], rows));
    }

    function bar(count, most, one, bins) {
      const made = el("canvas", { width: 60, height: 10, "aria-hidden": "true" }), pen = made.getContext("2d");
      pen.fillStyle = css(colours[about.kind === "text" ? one : about.kind === "truth" ? 254 * one : Math.round(((one + 0.5) / bins) * 254)]);
      pen.fillRect(0, 0, (60 * count) / most, 10);
      return made;
    }

    async function colour(name) {
      fill(over, `Making ${name} ready …`);
      over.hidden = false;
      const asked = told;
      about = await askReady("field", { run, field: name }, { signal: choose(), waiting: (share) => fill(over, `Making ${name} ready … ${Math.round(100 * share)} %`) });
      taken = asked;
      frames = new Map();
      held = 0;
      colours = palette(about);
      const last = latest();
      slider.max = String(last);
      stage.set({ colours, codes: null }); // those there are stand for another colour's values
      keys();
      over.hidden = true;
      await show(followed ? last : Math.min(tick, last));
      if (asked !== told) await look(); // the run has gone on while this was asked
    }

    // What is new of the run.
    async function look() {
      if (!about) return;
      if (town) await town.whereabouts(Number(slider.max) + 1);
      const asked = about.field, mine = told, fresh = await ask("field", { run, field: asked }, signal);
      if (mine < taken || asked !== about.field || !fresh.ready) return; // a later one was there before it
      taken = mine;
      if (fresh.ticks <= about.ticks && latest() <= Number(slider.max) && fresh.high === about.high && fresh.low === about.low) return;
      if (fresh.low !== about.low || fresh.high !== about.high || fresh.labels.length !== about.labels.length) { frames = new Map(); held = 0; }
      about = fresh;
      slider.max = String(latest());
      keys();
      if (followed && play.getAttribute("aria-pressed") !== "true") await show(Number(slider.max));
    }

    function keys() {
      const box = (colour) => { const one = el("canvas", { class: "swatch", width: 12, height: 12 }), pen = one.getContext("2d"); pen.fillStyle = css(colour); pen.fillRect(0, 0, 12, 12); return one; };
      if (about.kind === "text") return fill(legend, about.labels.slice(0, 14).flatMap((name, one) => [box(colours[one]), el("span", { class: "name" }, name), el("span")]));
      const strip = el("canvas", { width: 200, height: 12 }), pen = strip.getContext("2d");
      for (let x = 0; x < 200; x += 1) { pen.fillStyle = css(colours[Math.round((x / 199) * 254)]); pen.fillRect(x, 0, 1, 12); }
      strip.style.width = "100%";
      return fill(legend, el("span", {}, number(about.low)), strip, el("span", {}, number(about.high)), box(NONE), el("span", { class: "name soft" }, "no value"), el("span"));
    }

    function pick(agent) {
      if (!(agent >= 0 && agent < drawn?.agents)) agent = -1;
      stage.set({ chosen: agent });
      who();
    }

    function who() {
      const agent = stage.chosen;
      if (agent < 0 || !about) return fill(chosen, el("p", { class: "soft small" }, "Click an agent, or give its number."));
      number_.value = String(agent);
      const code = stage.codes?.[agent] ?? 255;
      const value = code === 255 ? "no value" : about.kind === "text" ? about.labels[code] : about.kind === "truth" ? (code ? "yes" : "no") : `about ${number(about.low + (code / 254) * (about.high - about.low), 3)}`;
      return fill(chosen, el("p", {}, `Agent ${agent}: ${about.field} ${value}. `, el("a", { href: context.link("agents", { agent: String(agent) }) }, "Its page")));
    }

    async function running() {
      const mine = ++playing;
      play.setAttribute("aria-pressed", "true");
      fill(play, "Pause");
      if (tick >= Number(slider.max)) await show(0);
      while (mine === playing && tick < Number(slider.max)) {
        const began = performance.now();
        await show(tick + 1, 1000 / Number(speed.value));
        await pause(Math.max(0, 1000 / Number(speed.value) - (performance.now() - began)));
      }
      if (mine === playing) stop();
    }

    function stop() { playing += 1; play.setAttribute("aria-pressed", "false"); fill(play, "Play"); }
    const swallow = (error) => { if (error.name !== "AbortError") { over.hidden = false; fill(over, error.message); } };
    play.addEventListener("click", () => { followed = false; play.getAttribute("aria-pressed") === "true" ? stop() : running().catch(swallow); });
    slider.addEventListener("input", () => { stop(); followed = slider.value === slider.max; show(Number(slider.value)).catch(swallow); });
    ties.addEventListener("change", () => { if (!ties.checked) { stage.setEdges(new Int32Array(0)); said(drawn.edges, 0); } show(tick).catch(swallow); });
    field.addEventListener("change", () => { stop(); colour(field.value).catch(swallow); });

    (async () => {
      drawn = await askReady("map", { run }, { signal });
      if (drawn.town) {
        fill(over, "Making the city ready …");
        town = await openTown(run, drawn.town, drawn.agents, signal);
        tied.hidden = !drawn.edges;
        stage.set({ places: (await town.whereabouts(0)).places, below: town.below, fills: 0.84 }); // a crowd stands about its place, up to 1.15 out
        stage.tied();
        said(drawn.edges, 0);
      } else if (!drawn.plane) stage.set({ places: new Float32Array((await askColumns("places", { run }, signal)).data) });
      if (!town) {
        const edges = await askColumns("edges", { run, tick: 0 }, signal);
        stage.setEdges(new Int32Array(edges.data));
        said(edges.about.of, edges.data.byteLength / 8);
      }
      const first = context.at.colour && drawn.fields.includes(context.at.colour) ? context.at.colour : drawn.fields.find((name) => !drawn.plane?.includes(name));
      if (!first) { fill(over, "Agents of this run have no public field to colour by."); return; }
      fill(field, drawn.fields.map((name) => el("option", { value: name }, name)));
      field.value = first;
      await colour(first);
    })().catch(swallow);

    return {
      seen() { told += 1; look().catch(swallow); },
      close() { stop(); stage.close(); },
    };
  },
};

// Places from two fields, -1 to 1, as large in both directions; degrees are narrower towards the poles.
function flat(x, y, aboutX, aboutY, degrees) {
  const narrow = degrees ? Math.cos((((aboutY.low + aboutY.high) / 2) * Math.PI) / 180) : 1;
  const reach = Math.max((aboutX.high - aboutX.low) * narrow, aboutY.high - aboutY.low, 1e-9) / 2;
  const middle = [(aboutX.low + aboutX.high) / 2, (aboutY.low + aboutY.high) / 2];
  const places = new Float32Array(2 * x.length);
  for (let agent = 0; agent < x.length; agent += 1) {
    places[2 * agent] = ((x[agent] - middle[0]) * narrow) / reach;
    places[2 * agent + 1] = -(y[agent] - middle[1]) / reach;
  }
  return places;
}
