// Messages, searched.

import { el, facts, fill, marked } from "./dom.js";
import { agentLink, fate, finder, whole } from "./texts.js";

export function message(context, one, wanted = "") {
  return el("li", {},
    facts(el("span", { class: "who" }, agentLink(context, one.sender), " → ", agentLink(context, one.receiver)),
      `tick ${one.tick_sent}`, one.tick_read === null ? null : `read in ${one.tick_read}`, one.fate === "delivered" ? null : fate(one.fate)),
    el("div", { class: "text" }, marked(one.body, wanted)),
    one.long.length ? whole(context.run, "messages", one.row, "All of it") : null);
}

export default {
  title: "Messages",
  shown: (context) => context.run !== null,
  open(main, context) {
    const text = el("input", { type: "search", placeholder: "Words in a message", "aria-label": "Words in a message", value: context.at.text ?? "" });
    const agent = el("input", { type: "number", min: "-1", placeholder: "agent", "aria-label": "Agent's number", value: context.at.agent ?? "" });
    const found = finder({
      signal: context.signal, view: "messages", key: "messages", empty: "No message like this is on record.",
      given: () => ({ run: context.run, text: text.value.trim(), agent: agent.value, want: 40 }),
      item: (one, asked) => message(context, one, asked.text),
    });
    fill(main, el("form", { class: "row", role: "search", onsubmit: (event) => { event.preventDefault(); found.anew(); } }, text, agent, el("button", { class: "main" }, "Search")), found.node);
    found.anew();
  },
};
