// The panel: which boxes are shown, the numbers, the list, the keys.

import * as address from "./address.js";
import { Comparison } from "./compare.js";
import * as said from "./corrections.js";
import { Editor } from "./editor.js";
import { drawHistogram } from "./histogram.js";
import { LongList } from "./list.js";
import { visible } from "./names.js";
import { boxOf, isAt } from "./shapes.js";
import { SlideView } from "./slide_view.js";

const at = (id) => document.getElementById(id);
const copyOf = (id) => at(id).content.cloneNode(true); // of a <template>
const PAN_PX = 80;
const SCORE_STEP = 0.05;
const STOPPED = "The server has stopped: start mhkd view again, then load this page anew.";

const state = {
  slides: [],
  slide: null, // index
  content: null, // null while nothing is known of the slide
  truthBoxes: [],
  comparison: null,
  hiddenClasses: new Set(), // by name, kept from slide to slide
  threshold: 0,
  chosen: null, // the threshold that the user has set, kept from slide to slide
  boxes: true,
  selected: null, // {kind: "box" or "outline", index}
  shown: [],
  found: { extra: new Set(), wrong: new Map(), missed: new Set() },
};
const view = new SlideView(at("view"), { onPick: pick, onTrouble: explain });
const list = new LongList(at("list"), fillRow, select);
const editor = new Editor({ state, view, say, ask, select, openSlide, update, refresh });
window.mhkd = { state, view, list, editor }; // for the browser's console

function say(text, small = false) {
  at("message").textContent = visible((text || "").trim());
  at("message").hidden = !text;
  at("message").classList.toggle("small", small);
}

async function ask(place) {
  const answer = await fetch(place).catch(() => {
    throw new Error(STOPPED);
  });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

/** Pixels have failed: what the server says of them. */
async function explain(place) {
  const { content } = state;
  const reason = await ask(place).then(() => "", (error) => error.message);
  if (content === state.content && reason) say(reason, view.isOpen);
}

async function start() {
  const { title, slides, token } = await (await ask("slides")).json();
  state.slides = slides;
  editor.corrections.token = token;
  at("folder").textContent = visible(title);
  document.title = `${visible(title)} – MHKD`;
  at("slide-field").hidden = slides.length < 2;
  at("slide-name").hidden = slides.length > 1;
  slides.forEach((slide, k) => {
    const count = slide.glomeruli == null ? "" : ` (${slide.glomeruli})`;
    at("slide").append(new Option(visible(slide.name) + count, k));
  });
  await follow();
}

/** Goes where the page's address says: a slide, a glomerulus on it. */
async function follow() {
  const wanted = address.read(location.hash);
  const index = wanted ? state.slides.findIndex((s) => s.name === wanted.slide) : -1;
  const known = index >= 0;
  if (!known || index !== state.slide || !state.content) {
    await openSlide(known ? index : (state.slide ?? 0), { number: known ? wanted.number : null });
  } else {
    selectNumber(wanted.number);
  }
  if (!known && (!wanted || wanted.slide)) {
    say(wanted ? `There is no slide ${wanted.slide} in these results.` : "This page's address is broken.", true);
  }
}

/** Nothing of the last slide stays. */
function clear() {
  Object.assign(state, { content: null, comparison: null, truthBoxes: [], selected: null, shown: [] });
  document.body.dataset.slide = "";
  editor.close();
  view.close();
  view.show(null);
  list.show([], () => false);
  say("");
  for (const id of ["shown", "density", "sclerotic"]) at(id).textContent = "–";
  for (const id of ["threshold-value", "agreement"]) at(id).textContent = "";
  for (const id of ["truth", "remark", "empty", "sclerotic-box"]) at(id).hidden = true;
  at("threshold").disabled = true;
  at("classes").replaceChildren();
  at("histogram").width = 0;
}

async function openSlide(index, { number = null, addEntry = false } = {}) {
  clear();
  state.slide = index;
  at("slide").value = index;
  const { name } = state.slides[index];
  at("slide-name").textContent = at("slide").title = visible(name); // a long one does not fit the field
  address.write({ slide: name, number }, addEntry);
  try {
    const content = await (await ask(`slides/${index}`)).json();
    if (state.slide !== index) return; // another one was chosen meanwhile
    await show(content, number);
  } catch (error) {
    if (state.slide === index) say(error.message);
  }
  if (state.slide === index) document.body.dataset.slide = name;
}

async function show(content, number) {
  state.content = content;
  state.truthBoxes = content.outlines.map(boxOf);
  editor.open();
  state.comparison = new Comparison(content, state.truthBoxes);
  const lowest = Math.floor(content.score_threshold * 100) / 100;
  at("threshold").disabled = false;
  at("threshold").min = lowest;
  state.threshold = Math.max(state.chosen ?? content.working_threshold ?? 0.5, lowest);
  at("truth").hidden = !content.outlines.length;
  for (const name of ["extra", "wrong", "missed"]) {
    at("which").querySelector(`[value=${name}]`).hidden = !content.outlines.length;
  }
  at("quality").hidden = !content.squares.length;
  at("square-count").textContent = content.squares.length;
  at("which").value = "all";
  at("remark").hidden = !content.remark;
  at("remark").textContent = visible(content.remark || "");
  listClasses();
  update();
  if (content.problem) say(content.problem);
  else await view.open(`tiles/${state.slide}-${content.key}.dzi`, content.mpp);
  if (state.content === content && number !== null) selectNumber(number);
}

/** The glomerulus of a link; the settings that hide it give way. */
function selectNumber(number) {
  const { content } = state;
  const index = number - 1;
  if (number === null) return select(null);
  if (!(index in content.scores)) return say(`There is no glomerulus ${number} on this slide.`, true);
  state.hiddenClasses.delete(classOf(index).name);
  listClasses();
  at("which").value = "all";
  state.threshold = Math.min(state.threshold, Math.floor(content.scores[index] * 100) / 100);
  update();
  select({ kind: "box", index });
}

function listClasses() {
  at("classes").replaceChildren(
    ...state.content.classes.map(({ name, color }, k) => {
      const item = copyOf("class-item").firstElementChild;
      item.querySelector(".class").textContent = visible(name);
      item.querySelector(".swatch").style.borderColor = color;
      const box = item.querySelector("input");
      box.checked = !state.hiddenClasses.has(name);
      box.title = `key ${k + 1}`;
      box.addEventListener("change", () => {
        state.hiddenClasses[box.checked ? "delete" : "add"](name);
        update();
      });
      return item;
    }),
  );
}

/** Boxes or their classes have changed. */
function refresh() {
  state.comparison = new Comparison(state.content, state.truthBoxes);
  update();
}

const classOf = (i) => state.content.classes[state.content.class_of[i]];
const isOn = (k) => k === null || !state.hiddenClasses.has(state.content.classes[k].name);

/** Everything that follows from the settings. */
function update() {
  const { content } = state;
  const { verdicts } = content;
  const isAbove = (i) => content.scores[i] >= state.threshold - 1e-9;
  const counts = (i) => (verdicts[i] ? verdicts[i] !== said.REJECTED : isAbove(i));
  const isShown = (i) => counts(i) && isOn(content.class_of[i]);
  const isTruth = (k) => isOn(content.outlines[k].class);
  const all = [...content.scores.keys()];
  const passing = all.filter(counts);
  // What was rejected is seen, and not counted.
  state.shown = all.filter((i) => (counts(i) || isAbove(i)) && isOn(content.class_of[i]));
  state.found = state.comparison.of(isShown, isTruth);
  const truth = [...content.outlines.keys()].filter(isTruth);

  showNumbers(passing, truth);
  drawHistogram(at("histogram"), content.found.scores, Number(at("threshold").min), state.threshold);
  showList();
  const outlines = at("outlines").checked ? truth : [];
  view.show({
    content,
    shown: state.boxes ? state.shown : [],
    outlines: outlines.map((k) => ({ outline: content.outlines[k], box: state.truthBoxes[k] })),
    squares: at("squares").checked ? content.squares : [],
    selected: state.selected && boxOfEntry(state.selected),
    frames: editor.frames,
    draft: editor.drawing.box,
  });
  editor.link();
}

function showNumbers(passing, truth) {
  const { content, found } = state;
  const shown = passing.filter((i) => isOn(content.class_of[i])).length;
  at("shown").textContent = shown;
  at("density").textContent = content.tissue_mm2 ? (shown / content.tissue_mm2).toFixed(2) : "–";
  // Of all that passes the threshold, whichever classes are shown; none where the student knows no such class.
  const sclerotic = content.classes.findIndex((c) => c.name.toLowerCase() === "sclerotic");
  at("sclerotic-box").hidden = sclerotic < 0 || sclerotic >= content.num_found_classes;
  const share = passing.filter((i) => content.class_of[i] === sclerotic).length / passing.length;
  at("sclerotic").textContent = passing.length ? `${Math.round(100 * share)} %` : "–";
  const all = new Array(content.classes.length).fill(0);
  const counted = new Array(content.classes.length).fill(0);
  content.class_of.forEach((k) => all[k]++);
  passing.forEach((i) => counted[content.class_of[i]]++);
  [...at("classes").children].forEach((item, k) => {
    item.querySelector(".count").textContent = `${counted[k]} of ${all[k]}`;
  });
  at("threshold").value = state.threshold;
  at("threshold-value").textContent = state.threshold.toFixed(2);
  at("outline-count").textContent = truth.length;
  const [wrong, missed] = [found.wrong.size, found.missed.size];
  at("agreement").textContent =
    `${truth.length - missed - wrong} found, ${wrong ? `${wrong} as another class, ` : ""}${missed} missed; ` +
    `boxes not annotated: ${found.extra.size} (IoU 0.5)`;
}

function boxOfEntry({ kind, index }) {
  return kind === "box" ? state.content.boxes_px[index] : state.truthBoxes[index];
}

/** Side of the square of a box's area, in the page's pixels: the size that the list shows and sorts by. */
function sizeOf(entry) {
  const [x0, y0, x1, y1] = boxOfEntry(entry);
  return Math.sqrt((x1 - x0) * (y1 - y0));
}

function entries() {
  const { content, found } = state;
  const which = at("which").value;
  const outlines = which === "missed";
  const has = {
    all: () => true,
    extra: (i) => found.extra.has(i),
    wrong: (i) => found.wrong.has(i),
    corrected: (i) => content.verdicts[i] !== null,
  }[which];
  const indices = outlines ? [...found.missed] : state.shown.filter(has);
  const listed = indices.map((index) => ({ kind: outlines ? "outline" : "box", index }));
  const score = ({ index }) => (outlines ? 0 : content.scores[index]); // an annotation has none
  const classIndex = ({ index }) => (outlines ? content.outlines[index].class ?? -1 : content.class_of[index]);
  const by = {
    number: () => 0,
    low: (a, b) => score(a) - score(b),
    high: (a, b) => score(b) - score(a),
    large: (a, b) => sizeOf(b) - sizeOf(a),
    class: (a, b) => classIndex(a) - classIndex(b),
  }[at("order").value];
  return listed.sort((a, b) => by(a, b) || a.index - b.index);
}

const isSelected = (e) => state.selected && e.kind === state.selected.kind && e.index === state.selected.index;

function showList() {
  const listed = entries();
  list.show(listed, isSelected);
  at("empty").hidden = listed.length > 0;
}

function fillRow(row, entry) {
  const { content, found } = state;
  row.append(copyOf("list-row"));
  const set = (name, text) => (row.querySelector(name).textContent = visible(text));
  const annotated = (k) => (k === null ? "no class" : content.classes[k].name);
  const wrong = at("which").value === "wrong"; // of these the annotation's class stands where the size does
  if (content.mpp && !wrong) set(".size", `${Math.round(sizeOf(entry) * content.mpp)} µm`);
  if (entry.kind === "box") {
    const truth = wrong ? ` for ${annotated(content.outlines[found.wrong.get(entry.index)].class)}` : "";
    const verdict = content.verdicts[entry.index];
    const mark = { [said.ACCEPTED]: "✓ ", [said.REJECTED]: "✗ ", [said.DRAWN]: "✓ " }[verdict] ?? "";
    set(".number", `${mark}${entry.index + 1}`);
    set(".class", classOf(entry.index).name + truth);
    set(".score", verdict === said.DRAWN ? "drawn" : content.scores[entry.index].toFixed(2));
    row.classList.toggle("rejected", verdict === said.REJECTED);
    if (verdict) row.setAttribute("aria-description", verdict);
    row.querySelector(".swatch").style.borderColor = classOf(entry.index).color;
  } else {
    set(".class", annotated(content.outlines[entry.index].class));
    row.querySelector(".swatch").classList.add("outline");
  }
  row.title = row.querySelector(".class").textContent;
}

/** Marks an entry, in the list too, and goes there; the page's address leads back to a glomerulus. */
function select(entry, travel = true) {
  state.selected = entry;
  list.mark(isSelected);
  if (entry?.kind === "box") editor.aim(classOf(entry.index).name);
  const number = entry && entry.kind === "box" ? entry.index + 1 : null;
  address.write({ slide: state.content.name, number }, false);
  view.select(entry && boxOfEntry(entry), travel);
}

/** A click on the slide: the smallest one there, by its outline or, where it has none, its box. */
function pick(x, y, slack) {
  const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);
  if (!state.content || !state.boxes) return;
  const { boxes_px, rings_of } = state.content;
  const under = state.shown.filter((i) => isAt([x, y], boxes_px[i], rings_of[i], slack));
  under.sort((a, b) => area(boxes_px[a]) - area(boxes_px[b]));
  select(under.length ? { kind: "box", index: under[0] } : null, false);
}

function setThreshold(value) {
  state.chosen = state.threshold = Math.min(1, Math.max(Number(at("threshold").min), Math.round(value * 100) / 100));
  update();
}

const KEYS = {
  ...editor.keys,
  n: () => list.step(1),
  p: () => list.step(-1),
  "[": () => setThreshold(state.threshold - SCORE_STEP),
  "]": () => setThreshold(state.threshold + SCORE_STEP),
  b: () => ((state.boxes = !state.boxes), update()),
  g: () => at("outlines").click(),
  q: () => at("squares").click(),
  "+": () => view.zoom(1),
  "=": () => view.zoom(1),
  "-": () => view.zoom(-1),
  0: () => view.home(),
  ArrowLeft: () => view.pan(-PAN_PX, 0),
  ArrowRight: () => view.pan(PAN_PX, 0),
  ArrowUp: () => view.pan(0, -PAN_PX),
  ArrowDown: () => view.pan(0, PAN_PX),
};

document.addEventListener("keydown", (e) => {
  const isUndo = (e.ctrlKey || e.metaKey) && !e.shiftKey && e.key.toLowerCase() === "z";
  if (!state.content || (!isUndo && (e.ctrlKey || e.metaKey || e.altKey))) return;
  if (editor.drawing.box && editor.drawing.key(e)) return e.preventDefault();
  // A letter would choose the class that begins with it.
  const isLetter = e.target.id === "to-class" && /^[a-z]$/i.test(e.key);
  if (isLetter) e.preventDefault();
  if ((e.target.matches("select") && !isLetter) || (e.target.matches("input[type=range]") && e.key.startsWith("Arrow"))) return;
  const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
  const inList = { ArrowDown: 1, ArrowUp: -1 }[e.target === at("list") && key];
  if (isUndo) editor.undo();
  else if (inList) list.step(inList);
  else if (/^[1-9]$/.test(key)) at("classes").children[key - 1]?.querySelector("input").click();
  else if (key in KEYS && (view.isOpen || !/Arrow|[-+=0]/.test(key))) KEYS[key]();
  else return;
  e.preventDefault();
});

at("slide").addEventListener("change", () => openSlide(Number(at("slide").value), { addEntry: true }));
window.addEventListener("popstate", follow);
at("threshold").addEventListener("input", () => setThreshold(Number(at("threshold").value)));
at("outlines").addEventListener("change", update);
at("squares").addEventListener("change", update);
at("which").addEventListener("change", update);
at("order").addEventListener("change", update);
at("zoom-in").addEventListener("click", () => view.zoom(1));
at("zoom-out").addEventListener("click", () => view.zoom(-1));
at("home").addEventListener("click", () => view.home());
window.addEventListener("resize", () => state.content && update());
start().catch((error) => say(error.message));
