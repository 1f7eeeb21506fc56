// Lists that are looked for from the newest on, a stretch at a time, and texts that are had whole when asked for.

import { ask, newest } from "./api.js";
import { el, fill, number } from "./dom.js";

const STRETCHES = 40; // so many stretches without a find are looked at before one is asked whether to go on

// Looks for rows until `signal`: `view` and `given()` are asked, `key` names the list in what comes, `item` makes an
// element of a row and of what was given, which stays until one looks anew.
export function finder({ signal, view, given, key, item, empty }) {
  const list = el("ul", { class: "list" }), said = el("p", { class: "soft small", role: "status" });
  const more = el("button", { hidden: true, onclick: () => look().catch(told) }, "Look further");
  const node = el("div", {}, list, el("div", { class: "row" }, more, said));
  const search = newest(signal);
  let asked = null, before = null, found = 0;
  const told = (error) => { if (error.name !== "AbortError") fill(said, error.message); };
  async function look() {
    const until = search();
    more.hidden = true;
    fill(said, "Looking …");
    for (let stretch = 0; stretch < STRETCHES; stretch += 1) {
      const got = await ask(view, { ...asked, before }, until);
      const rows = got[key];
      list.append(...rows.map((row) => item(row, asked)));
      found += rows.length;
      before = got.before;
      if (before === null) { fill(said, found ? `${number(found)}, that is all.` : empty); return; }
      if (rows.length) break;
      fill(said, got.of ? `Looking … ${Math.round((100 * (got.of - before)) / got.of)} %` : "Looking …");
    }
    fill(said, `${number(found)} so far.`);
    more.hidden = false;
  }
  return {
    node,
    anew() { asked = given(); before = null; found = 0; list.replaceChildren(); return look().catch(told); },
  };
}

// A fold that fetches all texts of a row when it is opened.
export function whole(run, tableName, row, summary) {
  const inside = el("div");
  const fold = el("details", {}, el("summary", {}, summary), inside);
  fold.addEventListener("toggle", async () => {
    if (!fold.open || inside.firstChild) return;
    try {
      const { texts } = await ask("whole", { run, table: tableName, row });
      fill(inside, Object.entries(texts).map(([name, text]) => el("div", {}, el("h3", { class: "soft" }, name), ...spoken(text))));
    } catch (error) { fill(inside, el("p", { class: "bad" }, error.message)); }
  }, { once: false });
  return fold;
}

// A prompt is a list of messages; anything else is text.
function spoken(text) {
  if (text.startsWith("[{")) {
    try {
      return JSON.parse(text).map((one) => el("div", {}, el("div", { class: "soft small" }, one.role), el("pre", {}, one.content)));
    } catch { /* it is text after all */ }
  }
  return [el("pre", {}, text)];
}

export const fate = (word) => el("span", { class: `fate ${word}` }, word);

export function agentLink(context, agent) {
  return agent < 0 ? "the world" : el("a", { href: context.link("agents", { agent: String(agent) }) }, `agent ${agent}`);
}
