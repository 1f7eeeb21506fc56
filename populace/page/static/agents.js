// One agent: what it is, its fields over time, what it asked and was told, whom it talked with, what it did.

import { ask, askReady } from "./api.js";
import { spark } from "./curves.js";
import { el, facts, fill, money, number, table } from "./dom.js";
import { interview } from "./interview.js";
import { message } from "./messages.js";
import { agentLink, fate, finder, whole } from "./texts.js";

const TICKS_LISTED = 300;

export default {
  title: "Agents",
  shown: (context) => context.run !== null,
  async open(main, context) {
    const { run, signal } = context, agent = Number(context.at.agent ?? 0);
    const go = (one) => context.go("agents", { agent: String(Math.max(0, one)) });
    const which = el("input", { type: "number", min: "0", value: String(agent), "aria-label": "Agent's number" });
    const body = el("div");
    fill(main, el("form", { class: "row", onsubmit: (event) => { event.preventDefault(); go(Number(which.value)); } },
      el("button", { type: "button", onclick: () => go(agent - 1), "aria-label": "The agent before" }, "‹"), which,
      el("button", { type: "button", onclick: () => go(agent + 1), "aria-label": "The next agent" }, "›"), el("button", { class: "main" }, "Show"),
      el("a", { href: context.link("map") }, "On the map")), body);
    const found = await ask("agent", { run, agent }, signal);
    const section = (title, given) => {
      const one = finder({ signal, ...given });
      one.anew();
      return el("section", { class: "card" }, el("h2", {}, title), one.node);
    };
    const about = [found.type && `of type ${found.type}`, found.born !== null && `born at tick ${found.born}`, found.left !== null && `left at tick ${found.left}`].filter(Boolean).join(", ");
    const fields = el("div", { class: "grid fields" });
    const held = found.held && el("section", { class: "card" }, el("h2", {}, `Held as of tick ${found.held.tick}`),
      table("What the agent holds", [["", false], ["", false]], Object.entries(found.held.fields).map(([name, value]) => [name, typeof value === "string" && value.length > 200 ? el("details", {}, el("summary", {}, `${value.slice(0, 120)} …`), el("pre", {}, value)) : String(value)])));
    const partner = context.at.other ?? "", talk = context.shelf.control ? interview(context, agent) : null;
    fill(body, el("h2", {}, `Agent ${agent}`, about ? el("span", { class: "soft" }, ` ${about}`) : null), fields,
      held || el("p", { class: "soft small" }, "Fields that are not public stand in checkpoints, while a run has any; of a run that is complete they are in the prompts of its asks."),
      talk,
      el("div", { class: "grid two" },
        section("Asks", {
          view: "asks", key: "asks", empty: "It asked nothing that is on record.", given: () => ({ run, agent, want: 12 }),
          item: (one) => el("li", {}, facts(el("span", { class: "who" }, one.purpose || "ask"), `tick ${one.tick}`, fate(one.settled), one.reason, `${number(one.tokens_in + one.tokens_out)} tokens`, one.cost_usd ? money(one.cost_usd) : null),
            one.answer === null ? null : el("div", { class: "text" }, one.answer), whole(run, "asks", one.row, "Prompt and answer")),
        }),
        section(partner ? `Talk with agent ${partner}` : "Conversations", {
          view: "messages", key: "messages", empty: "No message to or from it is on record.", given: () => ({ run, agent, other: partner, want: 20 }),
          item: (one) => {
            const made = message(context, one), other = one.sender === agent ? one.receiver : one.sender;
            if (!partner && other >= 0) made.firstChild.append(el("a", { href: context.link("agents", { agent: String(agent), other: String(other) }) }, "only with this one"));
            return made;
          },
        }),
        section("What it did", {
          view: "actions", key: "actions", empty: "It did nothing that is on record.", given: () => ({ run, agent, want: 20 }),
          item: (one) => el("li", {}, facts(el("span", { class: "who" }, one.kind), `tick ${one.tick}`, one.fate === "applied" ? null : fate(one.fate)), el("div", { class: "text small" }, one.args)),
        })));
    if (partner) body.querySelector("h2").append(" ", el("a", { class: "small", href: context.link("agents", { agent: String(agent) }) }, "all conversations"));
    for (const name of found.fields) {
      const now = el("div", { class: "much" }, "…"), canvas = el("canvas", { class: "spark", "aria-hidden": "true" }), rows = el("div", { class: "scroll" });
      fields.append(el("section", { class: "card tile", "aria-label": name }, el("div", { class: "what" }, name), now, canvas, el("details", {}, el("summary", {}, "Values"), rows)));
      (async () => {
        const series = await askReady("series", { run, agent, field: name }, { signal, waiting: (share) => fill(now, `${Math.round(100 * share)} %`) });
        fill(now, series.now === null ? "–" : typeof series.now === "number" ? number(series.now) : String(series.now));
        spark(canvas, series.values, series.kind !== "number");
        const shown = (value) => value === null ? "–" : series.kind === "text" ? series.labels[value] : series.kind === "truth" ? (value ? "yes" : "no") : number(value, 6);
        const from = Math.max(0, series.ticks.length - TICKS_LISTED);
        fill(rows, table(name, [["tick", true], [name, true]], series.ticks.slice(from).map((tick, at) => [String(tick), shown(series.values[from + at])])));
      })().catch((error) => error.name === "AbortError" || fill(now, el("span", { class: "small soft" }, error.message)));
    }
  },
};
