// The panel: which boxes are shown, the numbers, the list, the keys.

import { boxOf, compare } from "./marks.js";
import { SlideView } from "./slide_view.js";

const at = (id) => document.getElementById(id);
const PAN_PX = 80;
const SCORE_STEP = 0.05;
const BINS = 50;

const state = {
  slide: 0,
  content: null,
  truthBoxes: [],
  hiddenClasses: new Set(), // by name, kept from slide to slide
  threshold: 0,
  boxes: true,
  selected: null, // {kind: "box" or "outline", index}
  shown: [],
  missed: new Set(),
  extra: new Set(),
};
const view = new SlideView(at("view"), { onPick: pick, onTrouble: (text) => say(text, view.isOpen) });
window.mhkd = { state, view }; // for the browser's console

function say(text, small = false) {
  at("message").textContent = text || "";
  at("message").hidden = !text;
  at("message").classList.toggle("small", small);
}

async function ask(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

async function start() {
  const { title, slides } = await ask("slides");
  at("folder").textContent = title;
  document.title = `${title} – MHKD`;
  at("slide-field").hidden = slides.length < 2;
  at("slide-name").hidden = slides.length > 1;
  slides.forEach((slide, k) => {
    const count = slide.glomeruli == null ? "" : ` (${slide.glomeruli})`;
    at("slide").append(new Option(slide.name + count, k));
  });
  const wanted = decodeURIComponent(location.hash.slice(1));
  await openSlide(Math.max(0, slides.findIndex((s) => s.name === wanted)));
}

async function openSlide(index) {
  document.body.dataset.slide = "";
  state.slide = index;
  at("slide").value = index;
  say("");
  const content = await ask(`slides/${index}`);
  if (state.slide !== index) return; // another one was chosen meanwhile
  const first = state.content === null;
  state.content = content;
  state.truthBoxes = content.outlines.map(boxOf);
  state.selected = null;
  history.replaceState(null, "", `#${encodeURIComponent(content.name)}`);
  at("slide-name").textContent = content.name;
  const lowest = Math.floor(content.score_threshold * 100) / 100;
  at("threshold").min = lowest;
  state.threshold = first ? Math.max(0.5, lowest) : Math.max(state.threshold, lowest);
  at("truth").hidden = !content.outlines.length;
  at("which").hidden = !content.outlines.length;
  at("which").value = "all";
  at("remark").hidden = !content.remark;
  at("remark").textContent = content.remark || "";
  listClasses();
  update();
  if (content.problem) {
    view.close();
    say(content.problem);
  } else {
    await view.open(`tiles/${index}-${content.key}.dzi`, content.mpp);
    view.redraw();
  }
  document.body.dataset.slide = content.name;
}

function listClasses() {
  at("classes").replaceChildren(
    ...state.content.classes.map(({ name, color }, k) => {
      const item = document.createElement("li");
      item.innerHTML = `<label class="row"><input type="checkbox"><span class="swatch" aria-hidden="true"></span>
        <span class="class"></span><span class="count"></span></label>`;
      item.querySelector(".class").textContent = name;
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

const classOf = (i) => state.content.classes[state.content.class_of[i]];
const isOn = (k) => k === null || !state.hiddenClasses.has(state.content.classes[k].name);

/** Everything that follows from the settings. */
function update() {
  const { content } = state;
  const above = [...content.scores.keys()].filter((i) => content.scores[i] >= state.threshold - 1e-9);
  state.shown = state.boxes ? above.filter((i) => isOn(content.class_of[i])) : [];
  const truth = [...content.outlines.keys()].filter((k) => isOn(content.outlines[k].class));
  const found = compare(content, state.shown, truth.map((k) => state.truthBoxes[k]));
  state.extra = found.extra;
  state.missed = new Set([...found.missed].map((k) => truth[k]));

  showNumbers(above, truth);
  drawHistogram();
  showList();
  const outlines = at("outlines").checked ? truth : [];
  const selected = state.selected && boxOfEntry(state.selected);
  view.show({
    content,
    shown: state.shown,
    outlines: outlines.map((k) => ({ outline: content.outlines[k], box: state.truthBoxes[k] })),
    selected,
  });
}

function showNumbers(above, truth) {
  const { content, shown } = state;
  at("shown").textContent = shown.length;
  at("density").textContent = content.tissue_mm2 ? (shown.length / content.tissue_mm2).toFixed(2) : "–";
  const sclerotic = content.classes.findIndex((c) => c.name.toLowerCase() === "sclerotic");
  const share = shown.filter((i) => content.class_of[i] === sclerotic).length / shown.length;
  at("sclerotic-box").hidden = sclerotic < 0;
  at("sclerotic").textContent = shown.length ? `${Math.round(100 * share)} %` : "–";
  const all = new Array(content.classes.length).fill(0);
  const passing = new Array(content.classes.length).fill(0);
  content.class_of.forEach((k) => all[k]++);
  above.forEach((i) => passing[content.class_of[i]]++);
  [...at("classes").children].forEach((item, k) => {
    item.querySelector(".count").textContent = `${passing[k]} of ${all[k]}`;
  });
  at("threshold").value = state.threshold;
  at("threshold-value").textContent = state.threshold.toFixed(2);
  at("outline-count").textContent = truth.length;
  const hits = truth.length - state.missed.size;
  at("agreement").textContent =
    `${hits} found, ${state.missed.size} missed; boxes not annotated: ${state.extra.size} (IoU 0.5, any class)`;
}

/** How many boxes have which score; those below the threshold pale. */
function drawHistogram() {
  const canvas = at("histogram");
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const lowest = Number(at("threshold").min);
  const counts = new Array(BINS).fill(0);
  const bin = (score) => Math.min(BINS - 1, Math.max(0, Math.floor(((score - lowest) / (1 - lowest)) * BINS)));
  state.content.scores.forEach((s) => counts[bin(s)]++);
  const most = Math.max(1, ...counts);
  const thumb = 8; // the slider's ends lie inside its track
  const step = (width - 2 * thumb) / BINS;
  counts.forEach((n, k) => {
    pen.fillStyle = lowest + ((k + 0.5) / BINS) * (1 - lowest) >= state.threshold ? "#8d74b3" : "#e0dae8";
    const bar = n ? Math.max(2, (n / most) * height) : 0;
    pen.fillRect(thumb + k * step, height - bar, step - 1, bar);
  });
}

function boxOfEntry({ kind, index }) {
  return kind === "box" ? state.content.boxes_px[index] : state.truthBoxes[index];
}

function entries() {
  const { content } = state;
  const which = at("which").value;
  if (which === "missed") return [...state.missed].map((index) => ({ kind: "outline", index }));
  const found = state.shown.filter((i) => which === "all" || state.extra.has(i));
  const size = (i) => content.boxes_px[i][2] - content.boxes_px[i][0];
  const by = {
    number: () => 0,
    low: (a, b) => content.scores[a] - content.scores[b],
    high: (a, b) => content.scores[b] - content.scores[a],
    large: (a, b) => size(b) - size(a),
    class: (a, b) => content.class_of[a] - content.class_of[b],
  }[at("order").value];
  return found.sort((a, b) => by(a, b) || a - b).map((index) => ({ kind: "box", index }));
}

function showList() {
  const scroll = at("list").scrollTop;
  const listed = entries();
  at("list").replaceChildren(...listed.map(listItem));
  at("list").scrollTop = scroll;
  at("empty").hidden = listed.length > 0;
}

const isSelected = (e) => state.selected && e.kind === state.selected.kind && e.index === state.selected.index;

function listItem(entry) {
  const { content } = state;
  const item = document.createElement("li");
  item.entry = entry;
  item.setAttribute("aria-current", isSelected(entry) ? "true" : "false");
  item.innerHTML = `<button><span class="number"></span><span class="swatch" aria-hidden="true"></span>
    <span class="class"></span><span class="size"></span><span class="score"></span></button>`;
  const set = (name, text) => (item.querySelector(name).textContent = text);
  const [x0, y0, x1, y1] = boxOfEntry(entry);
  if (content.mpp) set(".size", `${Math.round(Math.sqrt((x1 - x0) * (y1 - y0)) * content.mpp)} µm`);
  if (entry.kind === "box") {
    set(".number", entry.index + 1);
    set(".class", classOf(entry.index).name);
    set(".score", content.scores[entry.index].toFixed(2));
    item.querySelector(".swatch").style.borderColor = classOf(entry.index).color;
  } else {
    const k = content.outlines[entry.index].class;
    set(".class", k === null ? "no class" : content.classes[k].name);
    item.querySelector(".swatch").classList.add("outline");
  }
  item.firstChild.addEventListener("click", () => select(entry));
  return item;
}

/** Marks an entry, in the list too, and goes there. */
function select(entry, travel = true) {
  state.selected = entry;
  for (const item of at("list").children) {
    item.setAttribute("aria-current", isSelected(item.entry) ? "true" : "false");
    if (isSelected(item.entry)) item.scrollIntoView({ block: "nearest" });
  }
  view.marks.selected = entry && boxOfEntry(entry);
  if (!view.isOpen) return;
  if (entry && travel) view.goTo(boxOfEntry(entry));
  view.redraw();
}

function step(by) {
  const items = [...at("list").children];
  if (!items.length) return;
  const now = items.findIndex((item) => isSelected(item.entry));
  const next = now < 0 ? (by > 0 ? 0 : items.length - 1) : (now + by + items.length) % items.length;
  select(items[next].entry);
}

/** A click on the slide: the smallest box there. */
function pick(x, y, slack) {
  const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);
  const under = state.shown.filter((i) => {
    const [x0, y0, x1, y1] = state.content.boxes_px[i];
    return x >= x0 - slack && x <= x1 + slack && y >= y0 - slack && y <= y1 + slack;
  });
  under.sort((a, b) => area(state.content.boxes_px[a]) - area(state.content.boxes_px[b]));
  select(under.length ? { kind: "box", index: under[0] } : null, false);
}

function setThreshold(value) {
  state.threshold = Math.min(1, Math.max(Number(at("threshold").min), Math.round(value * 100) / 100));
  update();
}

const KEYS = {
  n: () => step(1),
  p: () => step(-1),
  "[": () => setThreshold(state.threshold - SCORE_STEP),
  "]": () => setThreshold(state.threshold + SCORE_STEP),
  b: () => ((state.boxes = !state.boxes), update()),
  g: () => at("outlines").click(),
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
  if (e.ctrlKey || e.metaKey || e.altKey || !state.content) return;
  if (e.target.matches("select") || (e.target.matches("input[type=range]") && e.key.startsWith("Arrow"))) return;
  const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
  if (/^[1-9]$/.test(key)) at("classes").children[key - 1]?.querySelector("input").click();
  else if (key in KEYS && (view.isOpen || !/Arrow|[-+=0]/.test(key))) KEYS[key]();
  else return;
  e.preventDefault();
});

const failed = (error) => say(`${error.message.trim()}`);
at("slide").addEventListener("change", () => openSlide(Number(at("slide").value)).catch(failed));
at("threshold").addEventListener("input", () => setThreshold(Number(at("threshold").value)));
at("outlines").addEventListener("change", update);
at("which").addEventListener("change", update);
at("order").addEventListener("change", update);
at("zoom-in").addEventListener("click", () => view.zoom(1));
at("zoom-out").addEventListener("click", () => view.zoom(-1));
at("home").addEventListener("click", () => view.home());
window.addEventListener("resize", () => state.content && drawHistogram());
start().catch(failed);
