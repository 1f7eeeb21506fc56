// Curves over ticks, drawn by uPlot, each with its values as a table below.

import { el, fill, number, table } from "./dom.js";

const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const COLOURS = ["#4f6bed", "#e07b39", "#2a9d8f", "#c2477f", "#8a6fd1", "#c9a227", "#3a86b7", "#7a8b45"];
const TABLE_ROWS = 500;

// What was known of curves, with what is new after a tick.
export function joined(old, fresh) {
  if (!old || fresh.after < 0) return fresh;
  const kept = old.ticks.filter((tick) => tick <= fresh.after).length;
  const names = fresh.names.length >= old.names.length ? fresh.names : old.names;
  const of = (curves, name, count) => {
    const at = curves.names.indexOf(name);
    return at < 0 ? Array(count).fill(null) : curves.values[at].slice(0, count);
  };
  return {
    after: -1, names, ticks: [...old.ticks.slice(0, kept), ...fresh.ticks],
    values: names.map((name) => [...of(old, name, kept), ...of(fresh, name, fresh.ticks.length)]),
  };
}

// The values at an axis, with as many digits as it takes to tell them apart.
export function axisLabels(values) {
  const step = Math.abs(values[1] - values[0]) || Infinity;
  let digits = 3;
  while (digits < 12 && values.some((one) => Math.abs(Number(one.toPrecision(digits)) - one) > step / 100)) digits++;
  return values.map((one) => number(one, digits));
}

// A chart of series over ticks: { node, set(ticks, values), close() }. A series is a name, or { label, stroke, width };
// of those that are `quiet` neither legend nor table tells.
export function chart(title, given, { height = 150, legend = false } = {}) {
  const lines = given.map((one, at) => ({ stroke: COLOURS[at % COLOURS.length], width: 2, ...(typeof one === "string" ? { label: one } : one) }));
  const told = lines.map((one, at) => at).filter((at) => !lines[at].quiet), series = told.map((at) => lines[at].label);
  const plot = el("div", { class: "plot", "aria-hidden": "true" });
  const last = el("span", { class: "last" });
  const rows = el("div", { class: "scroll" });
  const values = el("details", {}, el("summary", {}, "Values"), rows);
  const node = el("section", { class: "card chart", "aria-label": title }, el("h3", {}, el("span", {}, title), last), plot, values);
  let drawn = null, data = [[], ...lines.map(() => [])];
  const axis = () => ({
    stroke: tone("--soft"), grid: { stroke: tone("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif",
  });
  const make = () => {
    drawn?.destroy();
    drawn = new uPlot({
      width: Math.max(120, plot.clientWidth), height, legend: { show: legend }, padding: [8, 12, 0, 0],
      cursor: { y: false, sync: { key: "ticks" }, points: { size: 6 } },
      scales: { x: { time: false }, y: { range: (_, low, high) => {
        if (low === null) return [0, 1];
        const room = (high - low || Math.abs(high) || 1) * 0.08;
        return [low - room, high + room];
      } } },
      axes: [{ ...axis(), size: 26, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 1e5, 1e6] },
        { ...axis(), size: 52, values: (_, values) => axisLabels(values) }],
      series: [{ label: "tick" }, ...lines.map(({ label, stroke, width }) => ({
        label, stroke, width, spanGaps: true, points: { show: data[0].length < 3, size: 5 },
        value: (_, value) => number(value),
      }))],
      hooks: { setCursor: [(self) => said(self.cursor.idx)] },
    }, data, plot);
  };
  const said = (at) => {
    const ticks = data[0], place = at ?? ticks.length - 1;
    if (place < 0) return fill(last, "");
    const values = told.map((which) => number(data[which + 1][place])).join(" · ");
    fill(last, at === null || at === undefined ? values : `${values} at tick ${ticks[place]}`);
  };
  const list = () => {
    if (!values.open) return;
    const from = Math.max(0, data[0].length - TABLE_ROWS);
    fill(rows, table(title, [["tick", true], ...series.map((name) => [name, true])],
      data[0].slice(from).map((tick, at) => [String(tick), ...told.map((which) => number(data[which + 1][from + at], 6))])));
  };
  values.addEventListener("toggle", list);
  const sized = new ResizeObserver(() => drawn ? drawn.setSize({ width: Math.max(120, plot.clientWidth), height }) : plot.clientWidth && make());
  sized.observe(plot);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const toned = () => drawn && make();
  dark.addEventListener("change", toned);
  return {
    node,
    set(ticks, drawnLines) {
      const few = data[0].length < 3;
      data = [ticks, ...drawnLines];
      if (drawn && few === ticks.length < 3) drawn.setData(data);
      else if (plot.clientWidth) make();
      said(null);
      list();
    },
    close() { sized.disconnect(); dark.removeEventListener("change", toned); drawn?.destroy(); },
  };
}

// A small curve without axes, for which the number beside it is enough; `steps` for values that are no numbers.
export function spark(canvas, values, steps = false) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const known = values.filter((one) => one !== null);
  if (!known.length) return;
  const low = known.reduce((a, b) => Math.min(a, b)), span = known.reduce((a, b) => Math.max(a, b)) - low || 1;
  pen.strokeStyle = tone("--accent");
  pen.lineWidth = 1.6;
  pen.beginPath();
  let begun = false, before = 0;
  values.forEach((one, at) => {
    if (one === null) { begun = false; return; }
    const x = 2 + (at * (width - 4)) / Math.max(1, values.length - 1), y = height - 4 - ((one - low) / span) * (height - 8);
    if (begun && steps) pen.lineTo(x, before);
    begun ? pen.lineTo(x, y) : pen.moveTo(x, y);
    begun = true;
    before = y;
  });
  pen.stroke();
}
