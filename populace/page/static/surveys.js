// What probes measured, as tables.

import { ask } from "./api.js";
import { el, fill, number } from "./dom.js";

export default {
  title: "Surveys",
  shown: (context) => context.run !== null,
  async open(main, context) {
    const { run } = context, { surveys } = await ask("surveys", { run });
    if (!surveys.length) return fill(main, el("p", { class: "empty" }, "No survey was taken in this run. What probes measure stands here once they have run."));
    const which = el("select", { "aria-label": "Survey" }, surveys.map((one) => el("option", { value: one.name }, `${one.name} (${number(one.rows)} rows)`)));
    const shown = el("div");
    let start = 0;
    async function show() {
      const found = await ask("survey", { run, name: which.value, start, want: 100 });
      const means = Object.entries(found.means).filter(([, mean]) => mean !== null);
      fill(shown, el("p", { class: "soft" }, means.map(([name, mean]) => `${name}: ${number(mean)} on average`).join(" · ")),
        el("div", { class: "card wide" }, el("table", {}, el("thead", {}, el("tr", {}, found.columns.map((name) => el("th", { scope: "col" }, name)))),
          el("tbody", {}, found.rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell === null ? "" : typeof cell === "number" ? number(cell) : String(cell)))))))),
        el("div", { class: "row" }, start > 0 && el("button", { onclick: () => { start -= 100; show(); } }, "Before"), start + 100 < found.of && el("button", { onclick: () => { start += 100; show(); } }, "Further"), el("span", { class: "soft small" }, `rows ${number(start)} to ${number(Math.min(found.of, start + 100))} of ${number(found.of)}`)));
    }
    which.addEventListener("change", () => { start = 0; show(); });
    fill(main, el("div", { class: "row" }, which), shown);
    await show();
    return null;
  },
};
