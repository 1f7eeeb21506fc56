// All runs of a folder.

import { ask } from "./api.js";
import { el, fill, money, number } from "./dom.js";

export default {
  title: "Runs",
  ofPlace: true,
  shown: (context) => !context.shelf?.alone,
  async open(main, context) {
    const { runs, place } = await ask("runs", {}, context.signal);
    const row = (one) => el("tr", {},
      el("td", {}, one.run ? el("a", { href: `#${new URLSearchParams({ run: one.name, view: "overview" })}` }, one.name) : one.name),
      el("td", {}, el("span", { class: `pill ${one.status === "at work" ? "work" : one.status}` }, one.status)),
      el("td", {}, one.scenario), el("td", {}, [one.experiment, one.arm].filter(Boolean).join(" / ")),
      el("td", { class: "n" }, number(one.ticks)), el("td", { class: "n" }, one.cost_usd === null ? "" : money(one.cost_usd)),
      el("td", { class: "small soft" }, one.error || (one.parent ? `fork at tick ${one.at_tick}` : "")));
    const heads = ["run", "state", "scenario", "arm", "ticks", "cost", ""];
    fill(main, el("section", { class: "card wide" }, el("h2", {}, `${runs.length} runs in ${place}`),
      el("table", {}, el("thead", {}, el("tr", {}, heads.map((name, at) => el("th", { scope: "col", class: at === 4 || at === 5 ? "n" : "" }, name)))),
        el("tbody", {}, runs.map(row)))));
  },
};
