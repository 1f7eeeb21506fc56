// Elements from data. Text is only ever text: nothing here, or elsewhere in the page, makes markup of it.

const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]/gu;

// What would turn text round, move a cursor or not be seen stands as its escape.
export function visible(text) {
  return String(text).replace(UNSEEN, (one) => `\\u${one.codePointAt(0).toString(16).padStart(4, "0")}`);
}

export function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name in made && name !== "list" && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, visible(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    made.append(child instanceof Node ? child : visible(child));
  }
  return made;
}

export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat().filter((one) => one !== null && one !== undefined && one !== false)
    .map((one) => (one instanceof Node ? one : document.createTextNode(visible(one)))));
  return parent;
}

// A line of short facts, those that there are.
export function facts(...said) {
  return el("div", { class: "head" }, said.flat().filter((one) => one !== null && one !== undefined && one !== false && one !== "")
    .map((one) => (one instanceof Node ? one : el("span", {}, one))));
}

// A table with a caption for those who hear it; `columns` are [heading, whether of numbers].
export function table(caption, columns, rows) {
  return el("table", {},
    el("caption", { class: "sr" }, caption),
    el("thead", {}, el("tr", {}, columns.map(([name, n]) => el("th", { scope: "col", class: n ? "n" : "" }, name)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, at) =>
      el("td", { class: columns[at] && columns[at][1] ? "n" : "" }, cell === null || cell === undefined ? "" : cell))))));
}

// Text in which what was looked for is marked.
export function marked(text, wanted) {
  const shown = visible(text);
  if (!wanted) return [document.createTextNode(shown)];
  const parts = [], low = shown.toLowerCase(), what = wanted.toLowerCase();
  let at = 0;
  for (let next = low.indexOf(what); next >= 0 && parts.length < 100; next = low.indexOf(what, at)) {
    parts.push(document.createTextNode(shown.slice(at, next)), el("mark", {}, shown.slice(next, next + what.length)));
    at = next + what.length;
  }
  parts.push(document.createTextNode(shown.slice(at)));
  return parts;
}

export function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2);
  return Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: Math.max(6, digits) });
}

// How many there are of something, with its name as it is for one or for several.
export function counted(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

export function money(usd) {
  if (usd === 0) return "$0";
  if (usd < 0.0001) return "< $0.0001";
  return `$${usd >= 0.1 ? usd.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 }) : usd.toPrecision(2)}`;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${String(Math.floor(whole / 60) % 60).padStart(2, "0")} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
}
