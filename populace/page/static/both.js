// Two runs side by side while they are at work: how far they are, and their outcomes in the same pictures.

import { ask, listen } from "./api.js";
import { chart, joined } from "./curves.js";
import { el, fill, number } from "./dom.js";

export default {
  title: "Both",
  shown: (context) => context.at.view === "both",
  async open(main, context) {
    const names = [context.run, context.at.with], known = [null, null], sources = [], charts = new Map();
    const tiles = el("div", { class: "grid tiles" }), curves = el("div", { class: "grid curves" });
    fill(main, tiles, curves);

    function draw() {
      fill(tiles, known.map((one, at) => el("div", { class: "card tile" },
        el("div", { class: "what" }, `${"AB"[at]}: ${one.status}${one.parent ? `, forked before tick ${one.at_tick}` : ""}`),
        el("div", { class: "much" }, el("a", { href: `#${new URLSearchParams({ run: names[at], view: "overview" })}` }, names[at])),
        el("div", { class: "more" }, `tick ${number(one.tick)} of ${number(one.ticks)}`))));
      const all = [...new Set(known.flatMap((one) => one.curves.names))];
      const ticks = [...new Set(known.flatMap((one) => one.curves.ticks))].sort((a, b) => a - b);
      for (const name of all) {
        if (!charts.has(name)) {
          charts.set(name, chart(name, ["A", "B"], { legend: true }));
          curves.append(charts.get(name).node);
        }
        charts.get(name).set(ticks, known.map(({ curves: of }) => {
          const at = of.names.indexOf(name), values = new Map(of.ticks.map((tick, which) => [tick, at < 0 ? null : of.values[at][which]]));
          return ticks.map((tick) => values.get(tick) ?? null);
        }));
      }
    }

    const first = await Promise.all(names.map((run) => ask("overview", { run }, context.signal)));
    first.forEach((one, at) => { known[at] = one; });
    draw();
    names.forEach((run, at) => {
      if (known[at].status !== "at work") return;
      sources.push(listen(run, { lost: () => {}, seen: (now) => { known[at] = { ...now, curves: joined(known[at].curves, now.curves) }; draw(); } }));
    });
    return { close() { sources.forEach((one) => one.close()); charts.forEach((one) => one.close()); } };
  },
};
