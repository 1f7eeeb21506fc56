// An experiment as it stands: arms and their runs, outcomes by arm, differences from the control with intervals.

import { askReady, pause } from "./api.js";
import { COLOURS, chart } from "./curves.js";
import { el, fill, number, table } from "./dom.js";

const LOOK_MS = 3000; // between two looks, while it is at work
const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// An interval as a picture: the line at no difference, the interval, the difference.
function interval(one, most) {
  const canvas = el("canvas", { class: "interval", "aria-hidden": "true", width: 240, height: 28 }), pen = canvas.getContext("2d");
  const x = (value) => 120 + (110 * value) / (most || 1);
  pen.fillStyle = tone("--line");
  pen.fillRect(119, 0, 2, 28);
  if (one.low === null || one.high === null) return canvas;
  pen.fillStyle = tone("--accent");
  pen.fillRect(x(one.low), 12, Math.max(2, x(one.high) - x(one.low)), 4);
  pen.beginPath();
  pen.arc(x(one.difference), 14, 6, 0, 2 * Math.PI);
  pen.fill();
  return canvas;
}

// What an arm changes: a line each; of many, the rest behind a summary.
function changed(all) {
  const line = (one) => el("div", { class: "small" }, el("span", { class: "soft" }, `${one.kind} `), el("code", {}, one.text));
  return [...all.slice(0, 5).map(line), all.length > 5 ? el("details", {}, el("summary", {}, `${all.length - 5} more`), all.slice(5).map(line)) : null];
}

export default {
  title: "Experiment",
  ofPlace: true,
  shown: (context) => context.shelf?.experiments.length > 0,
  async open(main, context) {
    const names = context.shelf.experiments, name = names.includes(context.at.name) ? context.at.name : names[0];
    const { signal } = context, charts = new Map();
    const chosen = names.length > 1 ? el("label", { class: "row" }, "Experiment ", el("select", { onchange: (event) => { location.hash = new URLSearchParams({ view: "experiment", name: event.target.value }); } },
      names.map((one) => el("option", { value: one, selected: one === name }, one)))) : null;
    const about = el("section", { class: "card" }, el("p", { class: "soft small", role: "status" }, "Reading the runs …")), arms = el("section", { class: "card wide" }), effects = el("section", { class: "card wide" }), curves = el("div", { class: "grid curves" });
    fill(main, chosen, about, effects, curves, arms);
    const colour = (seen, arm) => COLOURS[seen.arms.findIndex((one) => one.name === arm) % COLOURS.length];
    const key = (seen, arm) => { const one = el("span", { class: "key" }); one.style.background = colour(seen, arm); return one; };

    function head(seen) {
      fill(about, el("h2", {}, seen.name, " ", el("span", { class: `pill ${seen.status === "at work" ? "work" : seen.status}` }, seen.status)),
        seen.caveat ? el("p", { class: "notice" }, seen.caveat) : null, seen.question ? el("p", {}, seen.question) : null,
        el("p", { class: "soft" }, `${number(seen.complete)} of ${number(seen.replicates)} replicates done in all ${seen.arms.length} arms; ${number(seen.agents)} agents, ${number(seen.ticks)} ticks. Primary outcome: ${seen.primary}.`));
      const dot = (one, replicate) => one.run === null ? el("span", { class: "small soft" }, `${replicate}: to come`)
        : el("a", { class: "small", href: `#${new URLSearchParams({ run: one.run, view: "overview" })}` }, `${replicate}: ${one.status === "complete" ? "done" : `${one.status}, tick ${one.tick}`}`);
      fill(arms, el("h2", {}, "Arms"), table("Arms and their runs", [["arm", false], ["what it changes", false], ["done", true], ["replicates", false]], seen.arms.map((arm) => [
        el("span", {}, key(seen, arm.name), " ", arm.name),
        el("div", {}, arm.name === seen.control ? "the control" : arm.base ? `forked from ${arm.base} before tick ${arm.at_tick}` : "begun by itself", arm.about ? el("div", { class: "soft small" }, arm.about) : null, changed(arm.changes)),
        `${arm.runs.filter((one) => one.status === "complete").length} of ${arm.runs.length}`,
        el("details", { open: arm.runs.length <= 8 }, el("summary", {}, "runs"), el("div", { class: "row" }, arm.runs.map(dot)))])));
    }

    function differences(seen) {
      const most = new Map();
      for (const one of seen.effects) most.set(one.outcome, Math.max(most.get(one.outcome) ?? 0, ...[one.low, one.high, one.difference].map((value) => Math.abs(value ?? 0))));
      fill(effects, el("h2", {}, "Differences from the control"), seen.effects.length
        ? table("Differences from the control, paired by replicate", [["outcome", false], ["arm", false], ["difference", true], ["95 % interval", false], ["", false], ["p", true], ["p (Holm)", true], ["predicted", false], ["n", true]],
          seen.effects.map((one) => [one.outcome, el("span", {}, key(seen, one.arm), " ", one.arm), number(one.difference), `${number(one.low)} to ${number(one.high)}`, interval(one, most.get(one.outcome)),
            number(one.p, 2), number(one.p_adjusted, 2), one.predicted, String(one.replicates)])) : null,
      seen.why ? el("p", { class: "soft" }, seen.why) : null,
      el("p", { class: "soft small" }, `Paired by replicate, Student's t; from five pairs on the report bootstraps its intervals. ${seen.status === "complete" ? "" : "As they stand: looked at again and again such an interval holds less than it says, so plan an end by populace.experiments.inference.stop."}`));
    }

    function drawn(seen) {
      for (const one of seen.outcomes) {
        const lines = seen.arms.flatMap(({ name: arm }) => [
          ...one.arms[arm].runs.map((values) => [{ label: arm, stroke: `${colour(seen, arm)}55`, width: 1, quiet: true }, values]),
          [{ label: arm, stroke: colour(seen, arm), width: 2.5 }, one.arms[arm].mean]]);
        const same = charts.get(one.name);
        if (same?.count !== lines.length) {
          same?.made.close();
          const made = chart(one.name, lines.map(([line]) => line), { height: 220 });
          same ? same.made.node.replaceWith(made.node) : curves.append(made.node);
          charts.set(one.name, { made, count: lines.length });
        }
        charts.get(one.name).made.set(one.ticks, lines.map(([, values]) => values));
      }
    }

    async function look() {
      const seen = await askReady("experiment", { name }, { signal });
      head(seen);
      differences(seen);
      drawn(seen);
      return seen;
    }

    let seen = await look();
    (async () => {
      while (seen.status === "at work" && !signal.aborted) {
        await pause(LOOK_MS);
        seen = await look().catch(() => seen); // the page's server is away: what is shown stays until it is back
      }
    })();
    return { close() { charts.forEach((one) => one.made.close()); } };
  },
};
