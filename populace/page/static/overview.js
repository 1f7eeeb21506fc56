// How far the run is, how it fares, what it costs, how its outcomes move, what went wrong.

import { chart } from "./curves.js";
import { counted, duration, el, fill, money, number, table } from "./dom.js";

export default {
  title: "Overview",
  shown: (context) => context.run !== null,
  open(main, context) {
    const tiles = el("div", { class: "grid tiles" }), curves = el("div", { class: "grid curves" });
    const alarms = el("div"), wrong = el("section", { class: "card" }), about = el("section", { class: "card" });
    fill(main, alarms, tiles, curves, el("div", { class: "grid two" }, wrong, about));
    const charts = new Map();
    let now = context.now, offset = Date.now() / 1000 - now.now_s;
    const clock = setInterval(() => now.status === "at work" && age(), 1000);
    let aged = el("span");
    const age = () => fill(aged, now.told_s ? `${duration(Date.now() / 1000 - offset - now.told_s)} ago` : "–");

    function tile(what, much, more) {
      return el("div", { class: "card tile" }, el("div", { class: "what" }, what), el("div", { class: "much" }, much), el("div", { class: "more" }, more ?? ""));
    }

    function counts() {
      const work = now.status === "at work";
      const left = now.left_s && `${duration(now.left_s[0])} to ${duration(now.left_s[1])} left`;
      const within = now.due ? `${number(now.done)} of ${number(now.due)} turns of this tick` : `${number(now.ticks ? Math.floor((100 * now.tick) / now.ticks) : 0)} %`;
      aged = el("span");
      age();
      const spent = now.budget_usd === null ? `${number(now.tokens_in + now.tokens_out)} tokens`
        : `${money(Math.max(0, now.budget_usd - now.cost_usd))} of ${money(now.budget_usd)} left`;
      fill(tiles,
        tile("Tick", `${number(now.tick)} of ${number(now.ticks)}`, within),
        work ? tile("Last tick", aged, now.in_flight || now.waiting ? `${number(now.in_flight)} asks in flight, ${number(now.waiting)} waiting` : "")
          : tile("Took", duration(now.wall_s), `${number(now.turns_per_s, 3)} turns/s`),
        work ? tile("Pace", `${number(now.turns_per_s, 3)} turns/s`, left ?? "no estimate yet") : null,
        tile("Cost", money(now.cost_usd), spent),
        tile("Agents", number(now.agents), counted(now.turns, "turn")),
        tile("Asks", number(now.asks), `${number(now.abstained)} abstained`),
        tile("Messages", number(now.messages), now.turns_failed ? el("span", { class: "bad" }, `${counted(now.turns_failed, "turn")} failed`) : "no turn failed"));
    }

    function drawn() {
      const { names, ticks, values } = now.curves;
      names.forEach((name, at) => {
        if (!charts.has(name)) {
          charts.set(name, chart(name, [name]));
          curves.append(charts.get(name).node);
        }
        charts.get(name).set(ticks, [values[at]]);
      });
    }

    function rest() {
      const most = Math.max(1, ...now.failures.map((one) => one.count));
      const bar = (count) => { const one = el("progress", { max: String(most), value: String(count) }); one.style.width = "100%"; return one; };
      fill(wrong, el("h2", {}, "What went wrong"), now.failures.length
        ? table("Failures by reason", [["what", false], ["reason", false], ["times", true], ["", false]],
          now.failures.map((one) => [one.kind === "ask" ? "ask abstained" : "turn failed", one.reason, number(one.count), bar(one.count)]))
        : el("p", { class: "soft" }, "Nothing so far: no ask abstained, no turn failed."),
      now.notes.length ? el("details", {}, el("summary", {}, `${now.notes.length} notes`), el("pre", {}, now.notes.join("\n"))) : null);
      const facts = [["scenario", now.scenario], ["answered by", now.model], ["shards", number(now.shards)], ["seed", String(now.seed)],
        ["experiment", [now.experiment, now.arm].filter(Boolean).join(" / ")], ["forked from", now.parent && `${now.parent} before tick ${now.at_tick}`],
        ["tables", Object.entries(now.tables).filter(([, rows]) => rows).map(([name, rows]) => `${name} ${number(rows)}`).join(", ")]];
      fill(about, el("h2", {}, "The run"), table("The run", [["", false], ["", false]], facts.filter(([, said]) => said)));
      fill(alarms, now.error ? el("p", { class: "notice bad" }, now.error) : null,
        now.why_invalid ? el("p", { class: "notice" }, `Not valid: ${now.why_invalid}`) : null,
        now.status === "killed" ? el("p", { class: "notice" }, "The run was killed before it could say how it ended. What is shown is what it left; populace resume goes on with it.") : null);
    }

    return {
      seen(next) {
        now = next;
        offset = Date.now() / 1000 - now.now_s;
        counts();
        drawn();
        rest();
      },
      close() { clearInterval(clock); charts.forEach((one) => one.close()); },
    };
  },
};
