// What probes measured, as tables.

import { ask, newest } from "./api.js";
import { chart } from "./curves.js";
import { counted, el, fill, number, table } from "./dom.js";

export default {
  title: "Surveys",
  shown: (context) => context.run !== null,
  async open(main, context) {
    const { run, signal } = context, choose = newest(signal), { surveys } = await ask("surveys", { run }, signal);
    if (!surveys.length) { fill(main, el("p", { class: "empty" }, "No survey was taken in this run. What probes measure stands here once they have run.")); return null; }
    const which = el("select", { "aria-label": "Survey" }, surveys.map((one) => el("option", { value: one.name }, `${one.name} (${counted(one.rows, "row")})`)));
    const shown = el("div");
    const charts = [];
    const told = (error) => { if (error.name !== "AbortError") fill(shown, el("p", { class: "notice bad" }, error.message)); };
    const page = (text, start) => el("button", { onclick: () => show(start).catch(told) }, text);
    async function show(start) {
      const found = await ask("survey", { run, name: which.value, start, want: 100 }, choose());
      const ticks = new Set(found.items.map((one) => one.tick)), names = [...new Set(found.items.map((one) => one.item))];
      charts.splice(0).forEach((one) => one.close());
      const curves = el("div", { class: "grid curves" });
      const summary = el("section", { class: "card wide" }, el("h2", {}, "By item and wave"),
        table("By item and wave", [["item", false], ["tick", true], ["asked", true], ["abstained", true], ["mean", true], ["most said", false]],
          found.items.map((one) => [one.item, String(one.tick), number(one.asked), number(one.abstained), number(one.mean), one.labels.map(([label, times]) => `${label} (${number(times)})`).join(", ")])));
      fill(shown, found.caveat ? el("p", { class: "notice" }, found.caveat) : null, curves, found.items.length ? summary : null,
        el("div", { class: "card wide" }, el("table", {}, el("thead", {}, el("tr", {}, found.columns.map((name) => el("th", { scope: "col" }, name)))),
          el("tbody", {}, found.rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell === null ? "" : typeof cell === "number" ? number(cell) : String(cell)))))))),
        el("div", { class: "row" }, start > 0 && page("Before", start - 100), start + 100 < found.of && page("Further", start + 100), el("span", { class: "soft small" }, `rows ${number(start)} to ${number(Math.min(found.of, start + 100))} of ${number(found.of)}`)));
      if (ticks.size > 1) {
        for (const name of names.slice(0, 24)) {
          const mine = found.items.filter((one) => one.item === name && one.mean !== null).sort((a, b) => a.tick - b.tick);
          if (mine.length < 2) continue;
          const one = chart(name, ["mean answer"]);
          charts.push(one);
          curves.append(one.node);
          one.set(mine.map((wave) => wave.tick), [mine.map((wave) => wave.mean)]);
        }
      }
    }
    which.addEventListener("change", () => show(0).catch(told));
    fill(main, el("div", { class: "row" }, which), shown);
    show(0).catch(told);
    return { close: () => charts.forEach((one) => one.close()) };
  },
};
