// Colours for values: 0 to 254 along a scale or one a label, 255 for none. Safe for the colour-blind.

const SCALE = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
const LABELS = [[79, 107, 237], [224, 123, 57], [42, 157, 143], [194, 71, 127], [138, 111, 209], [201, 162, 39], [58, 134, 183], [122, 139, 69], [214, 90, 90], [90, 170, 110], [150, 120, 90], [120, 130, 150]];
export const NONE = [150, 156, 168];

export function palette(field) {
  const colours = [];
  for (let at = 0; at < 255; at += 1) {
    if (field.kind === "text") { colours.push(LABELS[at % LABELS.length]); continue; }
    const place = (at / 254) * (SCALE.length - 1), low = Math.floor(place), share = place - low;
    const one = SCALE[low], other = SCALE[Math.min(low + 1, SCALE.length - 1)];
    colours.push(one.map((value, which) => Math.round(value + share * (other[which] - value))));
  }
  colours.push(NONE);
  return colours;
}

export const css = ([red, green, blue]) => `rgb(${red},${green},${blue})`;
