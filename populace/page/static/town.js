// A city: its streets and places, drawn once underneath, and where its residents are at each tick.

import { askColumns, pause } from "./api.js";
import { palette } from "./colours.js";
import { visible } from "./dom.js";

const KEPT_BYTES = 64 * 2 ** 20;
const NOWHERE = -32768;
const STREETS = 300; // more than these would be a grey square

export async function openTown(run, about, agents, signal) {
  const { data } = await askColumns("town", { run }, signal);
  const at = new Int16Array(data, 0, 2 * about.places), kinds = new Uint8Array(data, 4 * about.places, about.places);
  const colours = palette({ kind: "text" }), size = Math.max(1.5, Math.min(14, 300 / Math.sqrt(about.places)));
  const frames = new Map(), most = Math.max(8, Math.floor(KEPT_BYTES / (8 * Math.max(1, agents))));
  const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let last = 0;

  function streets(pen, stage) {
    if (!about.block || 2 / about.block > STREETS) return;
    pen.strokeStyle = tone("--line");
    pen.lineWidth = 2 * stage.ratio;
    pen.beginPath();
    for (let way = about.street[0]; way <= 1.001; way += about.block) { pen.moveTo(...stage.point(way, -1)); pen.lineTo(...stage.point(way, 1)); }
    for (let way = about.street[1]; way <= 1.001; way += about.block) { pen.moveTo(...stage.point(-1, way)); pen.lineTo(...stage.point(1, way)); }
    pen.stroke();
  }

  function below(pen, stage) {
    streets(pen, stage);
    const side = size * stage.ratio * Math.sqrt(stage.zoom);
    pen.globalAlpha = 0.4;
    about.kinds.forEach((_, kind) => {
      const [red, green, blue] = colours[kind];
      pen.fillStyle = `rgb(${red},${green},${blue})`;
      for (let place = 0; place < about.places; place += 1) {
        if (kinds[place] !== kind) continue;
        const [x, y] = stage.point(at[2 * place] / about.scale, at[2 * place + 1] / about.scale);
        pen.fillRect(x - side / 2, y - side / 2, side, side);
      }
    });
    pen.globalAlpha = 1;
    pen.fillStyle = tone("--soft");
    pen.font = `${11 * stage.ratio}px sans-serif`;
    pen.textAlign = "center";
    about.names.forEach((name, place) => {
      const [x, y] = stage.point(at[2 * place] / about.scale, at[2 * place + 1] / about.scale);
      if (name) pen.fillText(visible(name), x, y + side / 2 + 12 * stage.ratio);
    });
  }

  // Where all are at a tick, as pairs from -1 to 1 (NaN: nowhere), and how many are at places of each kind.
  async function whereabouts(tick) {
    if (frames.has(tick)) return frames.get(tick);
    for (;;) {
      const found = await askColumns("whereabouts", { run, start: tick, count: 24 }, signal);
      if (found === null) { await pause(150); continue; }
      const { start, count, agents: there, ticks, counts } = found.about;
      last = Math.max(last, ticks - 1);
      let first = null;
      for (let one = 0; one < count; one += 1) {
        const given = new Int16Array(found.data, 4 * there * one, 2 * there), places = new Float32Array(2 * there);
        for (let which = 0; which < given.length; which += 1) places[which] = given[which] === NOWHERE ? NaN : given[which] / about.scale;
        const frame = { places, counts: counts[one] };
        first ??= frame;
        if (start + one < ticks - 1) frames.set(start + one, frame); // the last one may not be whole
      }
      while (frames.size > most) frames.delete(frames.keys().next().value);
      return first;
    }
  }

  return { below, whereabouts, get last() { return last; } };
}
