// A conversation with an agent as it stood at a tick's edge. It changes nothing of the run.

import { act, ask as get } from "./api.js";
import { el, fill } from "./dom.js";

// The card of an interview: what was asked goes with each next question, so that the agent knows it.
export function interview(context, agent) {
  const transcript = [], said = el("ul", { class: "list" }), status = el("p", { class: "soft small", role: "status" });
  const tick = el("input", { type: "number", min: "0", "aria-label": "As it stood before tick", placeholder: "the last" });
  const question = el("input", { type: "search", maxlength: "4000", "aria-label": "Question", placeholder: "Ask this agent something" });
  const button = el("button", { class: "main" }, "Ask");
  const mind = el("select", { "aria-label": "Who answers" }, el("option", { value: "" }, "as in the run"));
  for (const one of [tick, mind]) one.addEventListener("change", () => { transcript.length = 0; said.replaceChildren(); });
  get("minds", { run: context.run }, context.signal).then(({ minds }) => fill(mind, minds.map((one) => el("option", { value: one.name }, one.about))))
    .catch(() => { /* who answers in the run is there to choose */ });

  async function ask(event) {
    event.preventDefault();
    const asked = question.value.trim();
    if (!asked || button.disabled) return;
    button.disabled = tick.disabled = mind.disabled = true;
    fill(status, "The run is recomputed from its record up to there, then the agent is asked …");
    try {
      const given = { run: context.run, agent, question: asked, transcript, mind: mind.value, tick: tick.value === "" ? null : Number(tick.value) };
      const found = await act("interview", given);
      if (context.signal.aborted) return;
      const answer = found.answer ?? `No answer: ${found.abstained}`;
      if (found.answer) transcript.push([asked, found.answer]);
      said.append(el("li", {}, el("div", { class: "head" }, el("span", { class: "who" }, asked)), el("div", { class: "text" }, answer)));
      if (question.value.trim() === asked) question.value = "";
      fill(status, "");
    } catch (error) { fill(status, el("span", { class: "bad" }, error.message)); }
    button.disabled = tick.disabled = mind.disabled = false;
    if (document.activeElement === document.body) question.focus(); // unless somebody has gone on elsewhere
  }

  return el("section", { class: "card", "aria-label": "Interview" }, el("h2", {}, "Interview"),
    el("p", { class: "soft small" }, "The agent answers as it stood before a tick. The answers are kept beside the run and change nothing of it."),
    el("form", { class: "row", onsubmit: ask }, el("label", { class: "small soft" }, "before tick ", tick), el("label", { class: "small soft" }, "answered by ", mind), question, button), status, said);
}
