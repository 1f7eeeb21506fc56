// What may be asked of a run by who holds the page's token: pause, go on, end; fork it from here and watch both.

import { act } from "./api.js";
import { el, fill, table } from "./dom.js";
import { held } from "./token.js";

const SAID = { pause: "paused", go: "went on", stop: "ended" };
const ASKED = { pause: "asked to pause at the next edge …", go: "asked to go on …", stop: "asked to end at the next edge …" };

export default {
  title: "Control",
  shown: (context) => context.run !== null && context.shelf?.control,
  open(main, context) {
    const state = el("p", { role: "status" }), told = el("p", { class: "bad" }), done = el("div");
    const button = (text, wish, kind = "") => el("button", { class: kind, onclick: () => ask(wish) }, text);
    const pause = button("Pause at the next edge", "pause"), go = button("Go on", "go", "main"), stop = button("End at the next edge", "stop");
    const tick = el("input", { type: "number", min: "0", required: true, "aria-label": "Fork before tick" });
    const ticks = el("input", { type: "number", min: "1", "aria-label": "Ticks in all", placeholder: "planned" });
    const lever = el("input", { type: "search", "aria-label": "Lever", placeholder: 'block={sender=[1, 2]}', spellcheck: false });
    const begin = el("button", { class: "main" }, "Fork and watch both"), forked = el("p", { class: "soft small", role: "status" });
    let now = context.now, chosen = false;
    tick.addEventListener("input", () => { chosen = true; });

    let sent = Promise.resolve(); // wishes come to the run in the order in which they were made
    function ask(wish) {
      fill(told);
      sent = sent.then(() => act("wish", { run: context.run, wish })).catch((error) => fill(told, error.message));
    }

    async function fork(event) {
      event.preventDefault();
      begin.disabled = true;
      fill(forked, "The fork begins …");
      try {
        const given = { run: context.run, at_tick: Number(tick.value), lever: lever.value, ticks: ticks.value === "" ? null : Number(ticks.value) };
        const { run } = await act("fork", given);
        await context.again();
        if (!context.signal.aborted) context.go("both", { run: context.run, with: run });
      } catch (error) { fill(forked, el("span", { class: "bad" }, error.message)); }
      begin.disabled = false;
    }

    fill(main,
      held() ? null : el("p", { class: "notice" }, "To control the run, open the address that populace watch --control printed when it began: it ends in #token=…"),
      el("div", { class: "grid two" },
        el("section", { class: "card" }, el("h2", {}, "The run"), state, el("div", { class: "row" }, pause, go, stop), told,
          el("p", { class: "soft small" }, "A run does it between two ticks. A paused run has saved all of its state. One that was ended goes on with populace resume. None of this changes what becomes of the run."), done),
        el("section", { class: "card" }, el("h2", {}, "A fork from here"),
          el("form", { onsubmit: fork }, el("div", { class: "row" }, el("label", {}, "before tick ", tick), el("label", {}, "ticks in all ", ticks)),
            el("p", {}, el("label", {}, "with the lever ", lever)), el("div", { class: "row" }, begin)), forked,
          el("p", { class: "soft small" }, "The fork is a run of its own in a folder beside. It goes on when the page is closed. Of a run at work what is on record can be forked: pause it to fork it where it stands."))));
    return {
      seen(next) {
        now = next;
        const work = now.status === "at work", paused = now.paused_at !== null;
        const where = paused ? `paused before tick ${now.paused_at}` : work ? `at work on tick ${now.tick}` : now.status;
        fill(state, where, now.asked ? `, ${ASKED[now.asked]}` : "");
        pause.disabled = !work || paused;
        go.disabled = !work || !(paused || now.asked === "pause");
        stop.disabled = !work;
        if (!chosen) tick.value = String(now.paused_at ?? now.tick);
        fill(done, now.controlled.length ? table("What was done", [["", false], ["before tick", true], ["when", false]],
          now.controlled.map((one) => [SAID[one.wish], String(one.tick), new Date(1000 * one.at_s).toLocaleTimeString()])) : null);
      },
    };
  },
};
