// Runs and their forks, and where two of them part.

import { ask, askReady, newest } from "./api.js";
import { chart } from "./curves.js";
import { counted, el, fill, money, table } from "./dom.js";

export default {
  title: "Lineage",
  ofBoth: true,
  shown: () => true,
  async open(main, context) {
    const { runs } = await ask("runs", {}, context.signal), choose = newest(context.signal);
    const of = new Map(runs.map((one) => [one.run, one]));
    const children = new Map();
    for (const one of runs) if (of.has(one.parent)) children.set(one.parent, [...(children.get(one.parent) ?? []), one]);
    const node = (one) => el("li", {},
      el("a", { href: `#${new URLSearchParams({ run: one.name, view: "overview" })}`, "aria-current": one.name === context.run ? "page" : null }, one.name),
      el("span", { class: "soft small" }, ` ${one.status}${one.ticks === null ? "" : `, ${counted(one.ticks, "tick")}`}${one.cost_usd ? `, ${money(one.cost_usd)}` : ""}${one.parent ? ` · forked before tick ${one.at_tick}` : ""}${one.arm ? ` · arm ${one.arm}` : ""}`),
      one.parent && !of.has(one.parent) ? el("span", { class: "soft small" }, ` from run ${one.parent}, which is not in this folder`) : null,
      one.levers.length ? el("div", { class: "small soft" }, one.levers.join(" ")) : null,
      children.has(one.run) ? el("ul", {}, children.get(one.run).map(node)) : null);
    const roots = runs.filter((one) => !of.has(one.parent));
    const mine = runs.find((one) => one.name === context.run) ?? runs.find((one) => of.has(one.parent));
    const choice = (label, chosen) => el("label", {}, `${label} `, el("select", {}, runs.map((one) => el("option", { value: one.name, selected: one.name === chosen }, one.name))));
    const parent = of.get(mine?.parent) ?? (children.get(mine?.run) ?? []).at(0) ?? runs.find((one) => one !== mine);
    const first = mine?.parent && of.has(mine.parent) ? [parent, mine] : [mine ?? runs[0], parent ?? runs[0]];
    const a = choice("A", first[0].name), b = choice("B", first[1].name), shown = el("div"), charts = [];
    fill(main, el("section", { class: "card" }, el("h2", {}, "Runs and their forks"), el("ul", { class: "tree" }, roots.map(node))),
      runs.length > 1 ? el("div", { class: "row" }, el("h2", {}, "Where two part"), a, b, el("button", { class: "main", onclick: () => compare().catch(told) }, "Compare")) : el("p", { class: "soft" }, "Runs are compared where the page is given a folder of them: populace watch runs."), shown);
    main.querySelectorAll(".row").forEach((one) => one.classList.add("card"));
    const told = (error) => { if (error.name !== "AbortError") fill(shown, el("p", { class: "notice bad" }, error.message)); };

    async function compare() {
      const names = [a, b].map((one) => one.querySelector("select").value);
      fill(shown, el("p", { class: "soft", role: "status" }, "Comparing …"));
      const diff = await askReady("compare", { a: names[0], b: names[1] }, { signal: choose() });
      charts.splice(0).forEach((one) => one.close());
      const parts = el("div", { class: "grid curves" });
      const said = diff.identical ? "No tick that both runs have differs." : diff.parted_at === null ? `The world's state differs after tick ${diff.world_parted_at}.` : `They part in tick ${diff.parted_at}.`;
      fill(shown, el("section", { class: "card" }, el("h2", {}, said),
        diff.first && el("p", { class: "soft" }, `First, in tick ${diff.first.tick}: the ${diff.first.what} of ${diff.first.agent < 0 ? "the world" : `agent ${diff.first.agent}`}${diff.first.about ? ` (${diff.first.about})` : ""}`),
        diff.first && el("div", { class: "sides" }, [["A", diff.first.a], ["B", diff.first.b]].map(([name, text]) => el("div", {}, el("h3", {}, `${name}: ${names[name === "A" ? 0 : 1]}`), el("pre", {}, text ?? "nothing")))),
        diff.notes.map((note) => el("p", { class: "soft small" }, note)),
        Object.keys(diff.settings).length ? table("Settings that differ", [["setting", false], ["A", false], ["B", false]], Object.entries(diff.settings).map(([name, pair]) => [name, ...pair])) : null), parts);
      const add = (title, series, ticks, lines) => { const one = chart(title, series, { legend: true }); charts.push(one); parts.append(one.node); one.set(ticks, lines); };
      if (diff.touched.ticks.length) add("Agents touched so far", ["agents"], diff.touched.ticks, [diff.touched.agents]);
      for (const [name, one] of Object.entries(diff.outcomes)) add(name, ["A", "B"], one.ticks, [one.a, one.b]);
    }

    if (context.run && runs.length > 1 && (mine?.parent && of.has(mine.parent) || children.has(mine?.run))) compare().catch(told);
    return { close() { charts.forEach((one) => one.close()); } };
  },
};
