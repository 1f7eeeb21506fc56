// Draws agents and their ties on a canvas: ties once into a picture of their own, points at each tick over it.

import { css } from "./colours.js";

const A_PATH = 50; // ties a path: many short paths are drawn faster than a long one
const MANY = 6000; // from so many on, points are squares written as pixels
const GLIDING = 20000; // up to so many go from place to place; more are there at once

export class Stage {
  constructor(canvas, picked) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.ties = document.createElement("canvas");
    this.dots = document.createElement("canvas");
    this.places = new Float32Array(0);
    this.edges = new Int32Array(0);
    this.codes = null;
    this.colours = [];
    this.chosen = -1;
    this.zoom = 1;
    this.fills = 0.93; // of the canvas, by what lies between -1 and 1
    this.middle = [0, 0];
    this.asked = 0;
    this.gliding = 0;
    this.below = null;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.sized = new ResizeObserver(() => this.resize());
    this.sized.observe(canvas);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.toned = () => this.tied();
    this.dark.addEventListener("change", this.toned);
    this.handle(picked);
  }

  close() {
    this.sized.disconnect();
    this.dark.removeEventListener("change", this.toned);
    cancelAnimationFrame(this.asked);
    cancelAnimationFrame(this.gliding);
  }

  resize() {
    const ratio = Math.min(2, devicePixelRatio || 1);
    this.ratio = ratio;
    this.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    for (const one of [this.canvas, this.ties, this.dots]) { one.width = this.width; one.height = this.height; }
    this.tied();
  }

  set(given) {
    if (given.places) cancelAnimationFrame(this.gliding);
    Object.assign(this, given);
    this.draw();
  }

  // Has all go to these places, within so many milliseconds.
  glide(places, ms) {
    if (ms < 50 || this.still.matches || places.length !== this.places.length || places.length > 2 * GLIDING) return this.set({ places });
    cancelAnimationFrame(this.gliding);
    const from = this.places, began = performance.now();
    const step = () => {
      const share = Math.min(1, (performance.now() - began) / ms);
      this.places = share >= 1 ? places : places.map((to, which) => (Number.isNaN(from[which]) ? to : from[which] + share * (to - from[which])));
      this.now();
      if (share < 1) this.gliding = requestAnimationFrame(step);
    };
    this.gliding = requestAnimationFrame(step);
  }

  setEdges(edges) { this.edges = edges; this.tied(); }

  at(agent) { return this.point(this.places[2 * agent], this.places[2 * agent + 1]); }

  point(x, y) {
    const half = (Math.min(this.width, this.height) / 2) * this.fills * this.zoom;
    return [this.width / 2 + (x - this.middle[0]) * half, this.height / 2 + (y - this.middle[1]) * half];
  }

  tied() {
    if (!this.width) return;
    const pen = this.ties.getContext("2d");
    pen.clearRect(0, 0, this.width, this.height);
    this.below?.(pen, this);
    pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--edge").trim();
    const count = this.edges.length / 2;
    pen.lineWidth = this.ratio * (count > 8000 ? 0.6 : count > 1500 ? 0.9 : 1.4);
    for (let from = 0; from < count; from += A_PATH) {
      pen.beginPath();
      for (let edge = from; edge < Math.min(count, from + A_PATH); edge += 1) {
        pen.moveTo(...this.at(this.edges[2 * edge]));
        pen.lineTo(...this.at(this.edges[2 * edge + 1]));
      }
      pen.stroke();
    }
    this.draw();
  }

  draw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => { this.asked = 0; this.now(); });
  }

  now() {
    if (!this.width) return;
    this.pen.clearRect(0, 0, this.width, this.height);
    this.pen.drawImage(this.ties, 0, 0);
    const count = this.places.length / 2;
    if (count > MANY) this.squares(count);
    else this.discs(count);
    if (this.chosen >= 0 && this.chosen < count) {
      const [x, y] = this.at(this.chosen);
      this.pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
      this.pen.lineWidth = 2 * this.ratio;
      this.pen.beginPath();
      this.pen.arc(x, y, 9 * this.ratio, 0, 7);
      this.pen.stroke();
    }
  }

  discs(count) {
    const radius = this.ratio * Math.max(1.6, Math.min(8, (95 / Math.sqrt(count + 1)))) * Math.sqrt(this.zoom);
    const by = new Map();
    for (let agent = 0; agent < count; agent += 1) {
      const code = this.codes ? this.codes[agent] ?? 255 : 255;
      if (!by.has(code)) by.set(code, []);
      by.get(code).push(agent);
    }
    const rim = getComputedStyle(document.documentElement).getPropertyValue("--card").trim();
    for (const [code, agents] of by) {
      this.pen.fillStyle = css(this.colours[code] ?? [150, 156, 168]);
      this.pen.beginPath();
      for (const agent of agents) {
        const [x, y] = this.at(agent);
        if (Number.isNaN(x)) continue; // it is nowhere
        this.pen.moveTo(x + radius, y);
        this.pen.arc(x, y, radius, 0, 7);
      }
      this.pen.fill();
      if (radius > 4) { this.pen.strokeStyle = rim; this.pen.lineWidth = this.ratio; this.pen.stroke(); }
    }
  }

  squares(count) {
    const pen = this.dots.getContext("2d"), image = pen.createImageData(this.width, this.height);
    const pixels = new Uint32Array(image.data.buffer);
    const packed = Uint32Array.from(this.colours.length ? this.colours : [[150, 156, 168]], ([red, green, blue]) => (255 << 24) | (blue << 16) | (green << 8) | red);
    const half = (Math.min(this.width, this.height) / 2) * this.fills * this.zoom, side = Math.max(1, Math.min(8, Math.round(this.ratio * Math.sqrt(this.zoom) * (count > 40000 ? 1.3 : 2.4))));
    const left = this.width / 2 - this.middle[0] * half, top = this.height / 2 - this.middle[1] * half;
    for (let agent = 0; agent < count; agent += 1) {
      if (Number.isNaN(this.places[2 * agent])) continue;
      const x = (left + this.places[2 * agent] * half) | 0, y = (top + this.places[2 * agent + 1] * half) | 0;
      if (x < 0 || y < 0 || x + side > this.width || y + side > this.height) continue;
      const colour = packed[this.codes ? this.codes[agent] ?? 255 : 255] ?? packed[packed.length - 1];
      for (let row = 0; row < side; row += 1) pixels.fill(colour, (y + row) * this.width + x, (y + row) * this.width + x + side);
    }
    pen.putImageData(image, 0, 0);
    this.pen.drawImage(this.dots, 0, 0);
  }

  nearest(x, y, within = 24) {
    let found = -1, least = (within * this.ratio) ** 2;
    for (let agent = 0; agent < this.places.length / 2; agent += 1) {
      const [px, py] = this.at(agent), far = (px - x * this.ratio) ** 2 + (py - y * this.ratio) ** 2;
      if (far < least) { least = far; found = agent; }
    }
    return found;
  }

  move(zoom, dx = 0, dy = 0) {
    this.zoom = Math.max(0.5, Math.min(60, this.zoom * zoom));
    const half = (Math.min(this.canvas.clientWidth, this.canvas.clientHeight) / 2) * this.fills * this.zoom;
    this.middle = [this.middle[0] - dx / half, this.middle[1] - dy / half];
    if (this.zoom <= 0.5) this.middle = [0, 0];
    this.tied();
  }

  handle(picked) {
    let held = null, moved = false;
    this.canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.move(event.deltaY < 0 ? 1.15 : 1 / 1.15); }, { passive: false });
    this.canvas.addEventListener("pointerdown", (event) => { held = [event.clientX, event.clientY]; moved = false; this.canvas.setPointerCapture(event.pointerId); });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      const dx = event.clientX - held[0], dy = event.clientY - held[1];
      if (!moved && Math.hypot(dx, dy) < 4) return;
      moved = true;
      held = [event.clientX, event.clientY];
      this.move(1, dx, dy);
    });
    this.canvas.addEventListener("pointerup", (event) => {
      held = null;
      const box = this.canvas.getBoundingClientRect();
      if (!moved) picked(this.nearest(event.clientX - box.left, event.clientY - box.top));
    });
    this.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
      if (step) this.move(1, ...step);
      else if (event.key === "+" || event.key === "=") this.move(1.25);
      else if (event.key === "-") this.move(0.8);
      else return;
      event.preventDefault();
    });
  }
}
