// Posts of a feed, and how they travelled.

import { ask, askReady, newest } from "./api.js";
import { chart } from "./curves.js";
import { counted, el, facts, fill, marked, number } from "./dom.js";
import { agentLink } from "./texts.js";

export default {
  title: "Posts",
  shown: (context) => context.run !== null && (context.now?.tables.actions ?? 0) > 0,
  open(main, context) {
    const { run, signal } = context, search = newest(signal), choose = newest(signal);
    const text = el("input", { type: "search", placeholder: "Words in a post", "aria-label": "Words in a post" });
    const by = el("select", { "aria-label": "Order" }, el("option", { value: "size" }, "largest cascades first"), el("option", { value: "time" }, "newest first"));
    const list = el("ul", { class: "list" }), said = el("p", { class: "soft small", role: "status" }), side = el("section", { class: "card" }, el("p", { class: "soft" }, "Choose a post to see its cascade."));
    const more = el("button", { hidden: true, onclick: () => look(false).catch(told) }, "More");
    fill(main, el("form", { class: "row", role: "search", onsubmit: (event) => { event.preventDefault(); look(true).catch(told); } }, text, by, el("button", { class: "main" }, "Search")),
      el("div", { class: "grid two" }, el("div", {}, list, el("div", { class: "row" }, more, said)), side));
    let asked = null, next = 0, part = "", growth = null, chosen = false;
    const told = (error) => { if (error.name !== "AbortError") fill(said, error.message); };
    by.addEventListener("change", () => look(true).catch(told));

    async function look(anew) {
      const until = search();
      if (anew) { asked = { text: text.value.trim(), by: by.value }; next = 0; list.replaceChildren(); }
      more.hidden = true;
      fill(said, "Looking …");
      let found;
      do {
        found = await askReady("posts", { run, part, ...asked, start: next, want: 30 }, { signal: until, waiting: () => fill(said, "Reading the feed …") });
        part = found.part;
        list.append(...found.posts.map((one) => item(one, asked.text)));
        next = found.next;
      } while (next !== null && !found.posts.length);
      fill(said, found.of ? `${number(list.children.length)} of ${number(found.of)} originals.` : "No feed is on record in this run.");
      more.hidden = next === null;
      if (anew && list.firstChild && !chosen) list.querySelector("button")?.click();
    }

    function item(one, wanted) {
      return el("li", {},
        facts(el("span", { class: "who" }, agentLink(context, one.author)), `tick ${one.tick}`, one.verb === "post" && one.about < 0 ? null : one.verb === "post" ? `replies to post ${one.about}` : `${one.verb}s post ${one.about}`,
          counted(one.size - 1, "share"), counted(one.likes, "like"), one.replies ? counted(one.replies, "reply", "replies") : null),
        el("div", { class: "text" }, marked(one.text, wanted)),
        el("button", { onclick: () => cascade(one).catch(told) }, "Cascade"));
    }

    async function cascade(one) {
      chosen = true;
      const found = await ask("cascade", { run, part: one.part, post: one.post }, choose());
      growth?.close();
      growth = chart("Posts in the cascade", ["posts"], { height: 130 });
      const depth = Math.max(...found.members.map((member) => member.depth));
      const places = found.members.map(() => el("ul"));
      const roots = [];
      found.members.slice(0, 400).forEach((member, at) => {
        const shared = member.verb === "share" || member.verb === "repost";
        const node = el("li", {}, el("span", { class: "small" }, agentLink(context, member.author), el("span", { class: "soft" }, ` · tick ${member.tick} · ${member.verb === "post" && member.under >= 0 ? "reply" : member.verb}`)),
          shared ? null : el("div", { class: "text small" }, member.text), places[at]);
        if (member.under >= 0) places[member.under].append(node);
        else roots.push(node);
      });
      fill(side, el("h2", {}, `Post ${one.post} of agent ${one.author}`),
        el("p", { class: "soft small" }, `${counted(found.size - 1, "share")}, ${counted(found.members.length - found.size, "reply or quote", "replies and quotes")}, ${counted(found.likes, "like")}, ${counted(depth, "step")} deep.`),
        growth.node, el("div", { class: "scroll" }, el("ul", { class: "tree" }, roots)));
      places.forEach((node) => node.firstChild || node.remove());
      growth.set(found.growth.ticks, [found.growth.sizes]);
    }

    look(true).catch(told);
    return { close() { growth?.close(); } };
  },
};
