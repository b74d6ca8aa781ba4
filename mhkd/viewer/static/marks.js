// What is drawn over the slide: outlines of what was found, or else boxes, and of what was annotated.

import { DRAWN, REJECTED } from "./corrections.js";

const LABEL_FROM_PX = 48; // smaller boxes carry no text
const HALO_FROM_PX = 24; // nor a white rim
const DOT_BELOW_PX = 4; // and these are dots
const OUTLINE_COLOR = "#111";

/**
 * Draws all marks. `toScreen` is {scale, x, y}: screen = image * scale + (x, y), in CSS pixels.
 */
export function draw(canvas, toScreen, { content, shown, outlines, squares, selected, frames, draft }) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const place = ([x0, y0, x1, y1]) => {
    const x = x0 * toScreen.scale + toScreen.x;
    const y = y0 * toScreen.scale + toScreen.y;
    return [x, y, (x1 - x0) * toScreen.scale, (y1 - y0) * toScreen.scale];
  };
  const isOff = ([x, y, w, h]) => x > width || y > height || x + w < 0 || y + h < 0;

  pen.lineJoin = "round";
  for (const { box, reason } of squares) {
    const at = place(box);
    if (!isOff(at)) drawSquare(pen, at, reason);
  }
  for (const { outline, box } of outlines) {
    const at = place(box);
    if (!isOff(at)) drawOutline(pen, pathOf(outline.rings, toScreen), at[2] >= HALO_FROM_PX);
  }
  if (selected) drawSelection(pen, place(selected)); // below the boxes, whose labels are to be read
  for (const { box, text } of frames) drawFrame(pen, place(box), text);
  for (const i of shown) {
    const at = place(content.boxes_px[i]);
    if (isOff(at)) continue;
    const verdict = content.verdicts[i];
    const { color } = content.classes[content.class_of[i]];
    const rings = content.rings_of[i];
    const shape = () => (rings ? pathOf(rings, toScreen) : rectangle(at));
    if (verdict === REJECTED) drawRejected(pen, at, shape());
    else if (Math.max(at[2], at[3]) < DOT_BELOW_PX) drawDot(pen, at, color);
    else drawFound(pen, at, shape(), color, label(verdict, content.scores[i]));
  }
  if (draft) drawFrame(pen, place(draft), "");
  canvas.dataset.boxes = shown.length;
  canvas.dataset.outlines = outlines.length;
  canvas.dataset.squares = squares.length;
}

function label(verdict, score) {
  return verdict === DRAWN ? "✓ drawn" : `${verdict ? "✓ " : ""}${score.toFixed(2)}`;
}

function rectangle([x, y, w, h]) {
  const path = new Path2D();
  path.rect(x, y, w, h);
  return path;
}

/** Of rings in image pixels, each [x, y, x, y, ...]. */
function pathOf(rings, { scale, x, y }) {
  const path = new Path2D();
  for (const ring of rings) {
    path.moveTo(ring[0] * scale + x, ring[1] * scale + y);
    for (let k = 2; k < ring.length; k += 2) path.lineTo(ring[k] * scale + x, ring[k + 1] * scale + y);
    path.closePath();
  }
  return path;
}

/** What a person has rejected: in grey, crossed out. */
function drawRejected(pen, [x, y, w, h], path) {
  path.moveTo(x, y);
  path.lineTo(x + w, y + h);
  path.moveTo(x + w, y);
  path.lineTo(x, y + h);
  for (const [color, lineWidth] of [["#ffffffb0", 4], ["#555", 1.5]]) {
    pen.strokeStyle = color;
    pen.lineWidth = lineWidth;
    pen.stroke(path);
  }
}

/** A field, or a box that is being drawn. */
function drawFrame(pen, [x, y, w, h], text) {
  for (const [color, lineWidth] of [["#fff", 5], ["#5b3a8c", 2.5]]) {
    pen.strokeStyle = color;
    pen.lineWidth = lineWidth;
    pen.setLineDash(lineWidth > 4 ? [] : [10, 6]);
    pen.strokeRect(x, y, w, h);
  }
  pen.setLineDash([]);
  if (text) drawLabel(pen, x, y, text, "#5b3a8c");
}

function drawDot(pen, [x, y, w, h], color) {
  pen.fillStyle = color;
  pen.fillRect(x + w / 2 - 1.5, y + h / 2 - 1.5, 3, 3);
}

function drawFound(pen, [x, y, w], path, color, text) {
  if (w >= HALO_FROM_PX) {
    pen.strokeStyle = "#ffffffb0";
    pen.lineWidth = 4.5;
    pen.stroke(path);
  }
  pen.strokeStyle = color;
  pen.lineWidth = w >= HALO_FROM_PX ? 2.5 : 2;
  pen.stroke(path);
  if (w < LABEL_FROM_PX) return;
  drawLabel(pen, x, y, text, color);
}

function drawLabel(pen, x, y, text, color) {
  pen.font = "600 12px system-ui, sans-serif";
  const textWidth = pen.measureText(text).width + 10;
  pen.fillStyle = color;
  pen.fillRect(x - 1.25, y - 18, textWidth, 18);
  pen.fillStyle = isLight(color) ? "#111" : "#fff";
  pen.fillText(text, x + 4, y - 5);
}

function isLight(color) {
  const [red, green, blue] = [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16));
  return 0.3 * red + 0.59 * green + 0.11 * blue > 140;
}

/** A square of tissue that is out of focus, under pen or black. */
function drawSquare(pen, [x, y, w, h], reason) {
  pen.fillStyle = "#80808050";
  pen.fillRect(x, y, w, h);
  if (w < LABEL_FROM_PX) return;
  pen.font = "600 12px system-ui, sans-serif";
  pen.fillStyle = "#333";
  pen.fillText(reason, x + 4, y + 15);
}

function drawOutline(pen, path, halo) {
  if (halo) {
    pen.strokeStyle = "#ffffffb0";
    pen.lineWidth = 4;
    pen.stroke(path);
  }
  pen.setLineDash([6, 4]);
  pen.strokeStyle = OUTLINE_COLOR;
  pen.lineWidth = halo ? 2 : 1.25;
  pen.stroke(path);
  pen.setLineDash([]);
}

/** Corners around the selected one: they hide nothing of it. */
function drawSelection(pen, [x, y, w, h]) {
  const gap = 7;
  const [left, top, right, bottom] = [x - gap, y - gap, x + w + gap, y + h + gap];
  const arm = Math.max(8, Math.min(28, w / 4));
  pen.beginPath();
  for (const [cx, sx] of [[left, 1], [right, -1]]) {
    for (const [cy, sy] of [[top, 1], [bottom, -1]]) {
      pen.moveTo(cx + sx * arm, cy);
      pen.lineTo(cx, cy);
      pen.lineTo(cx, cy + sy * arm);
    }
  }
  for (const [color, lineWidth] of [["#fff", 7], ["#5b3a8c", 3.5]]) {
    pen.strokeStyle = color;
    pen.lineWidth = lineWidth;
    pen.stroke();
  }
}
