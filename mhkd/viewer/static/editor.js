// What a person does to what was found: accepts, rejects, draws, gives classes, goes from field to field.

import { iou } from "./compare.js";
import * as said from "./corrections.js";
import { Drawing } from "./drawing.js";
import { Fields } from "./fields.js";
import { visible } from "./names.js";

const at = (id) => document.getElementById(id);
const SAME_IOU = 0.5; // from which on a drawn box is one that was found
const TYPICAL_UM = 200; // of a glomerulus
const FIELD_SURROUNDINGS = 1.1;
const BUTTONS = { accept: "a", reject: "x", draw: "d", undo: "u", "next-field": "f", "field-done": "m" };

export class Editor {
  /**
   * `page` is what the page has and does: {state, view, say, ask, select, openSlide, update, refresh}, the last
   * for boxes that have changed. */
  constructor(page) {
    Object.assign(this, page);
    this.drawing = new Drawing(this.view, {
      onChange: (box) => this.showDraft(box),
      onDone: (box) => this.keepDrawn(box),
    });
    this.fields = new Fields(async () => (await this.ask("fields")).json());
    this.corrections = new said.Corrections({
      onChange: (others) => this.changed(others),
      onTrouble: (text) => this.say(text, true),
      freshToken: async () => (await (await this.ask("slides")).json()).token,
    });
    const withChosen = (act) => () => {
      const i = this.chosen();
      if (i !== null) act(i);
    };
    this.keys = {
      a: withChosen((i) => this.accept(i, this.nameOf(i))),
      x: withChosen((i) => this.reject(i)),
      c: withChosen((i) => this.nextClass(i)),
      d: () => this.draw(),
      u: () => this.undo(),
      f: () => this.nextField(),
      m: () => this.markField(),
    };
    for (const [id, key] of Object.entries(BUTTONS)) at(id).addEventListener("click", this.keys[key]);
    at("to-class").addEventListener("change", () => {
      const { selected } = this.state;
      if (selected?.kind === "box") this.accept(selected.index, at("to-class").value);
    });
  }

  /** Begins with the page's slide. */
  open() {
    const { content, slide } = this.state;
    const { boxes_px, rings_of, scores, class_of, ids } = content;
    content.found = { boxes_px, rings_of, scores, class_of, ids };
    this.corrections.open(slide, content);
    this.apply();
    this.listClasses();
  }

  close() {
    if (this.drawing.box) this.drawing.stop();
    this.corrections.close();
    this.listClasses();
  }

  /** What was found becomes what it is with all that was said. */
  apply() {
    const { content } = this.state;
    const names = content.classes.map((c) => c.name);
    Object.assign(content, said.corrected(content.found, this.corrections.words.values(), names));
  }

  /** Something was said, here or, `others`, on another page. */
  changed(others) {
    const { content, selected } = this.state;
    if (!content) return;
    const id = selected?.kind === "box" ? content.ids[selected.index] : null;
    this.apply();
    const index = content.ids.indexOf(id);
    if (id !== null) this.state.selected = index < 0 ? null : { kind: "box", index };
    this.refresh();
    if (others.length) this.say(`Another page: ${others.map((word) => this.describe(word)).join(", ")}.`, true);
    this.count();
  }

  /** How many corrections of the slide are saved, or are not yet. */
  count() {
    const [waiting, saved] = [this.corrections.queue.length, this.corrections.words.size];
    at("kept").textContent = waiting ? `${waiting} not saved yet` : saved ? `${saved} saved` : "";
  }

  describe({ id, verdict, class_name }) {
    const number = this.state.content.ids.indexOf(id) + 1;
    const what = number ? `glomerulus ${number}` : "a box";
    if (verdict === said.FIELD) return "a field is corrected";
    return `${what} ${verdict === said.ACCEPTED ? `is ${class_name}` : `was ${verdict}`}`;
  }

  /** The student's classes, to choose from. */
  listClasses() {
    const { content } = this.state;
    const names = content ? content.classes.slice(0, content.num_found_classes) : [];
    at("to-class").replaceChildren(...names.map(({ name }) => new Option(visible(name), name)));
    const isOff = !content || Boolean(content.locked);
    for (const control of at("edit").querySelectorAll("button, select")) control.disabled = isOff;
    at("next-field").disabled = false;
    at("geojson").hidden = isOff;
    this.count();
  }

  /** What is drawn next is of this class, if it is one of the student's. */
  aim(name) {
    if ([...at("to-class").options].some((o) => o.value === name)) at("to-class").value = name;
  }

  /** The address of the corrected slide, from the score on that is looked at. */
  link() {
    const { content, threshold } = this.state;
    at("geojson").href = `corrected/${this.corrections.place}/${threshold.toFixed(2)}.geojson`;
    at("geojson").download = `${content.name}.geojson`;
  }

  isLocked() {
    const { locked } = this.state.content;
    if (locked) this.say(`Nothing can be corrected here: ${locked}`, true);
    return Boolean(locked);
  }

  /** The selected box's index; says what to do where there is none or nothing can be corrected. */
  chosen() {
    if (this.isLocked()) return null;
    if (this.state.selected?.kind === "box") return this.state.selected.index;
    this.say("Choose a box first: click it, or press N.", true);
    return null;
  }

  nameOf(i) {
    const { classes, class_of } = this.state.content;
    return classes[class_of[i]].name;
  }

  accept(i, class_name) {
    this.say("");
    this.aim(class_name);
    const { ids, boxes_px, verdicts } = this.state.content;
    const drawn = verdicts[i] === said.DRAWN;
    this.corrections.say({ id: ids[i], box_px: boxes_px[i], verdict: said.ACCEPTED, class_name, drawn });
  }

  /** Not a glomerulus; what a person drew is taken away again, and what was found there is back. */
  reject(i) {
    this.say("");
    const { ids, boxes_px, verdicts } = this.state.content;
    const verdict = verdicts[i] === said.DRAWN ? said.WITHDRAWN : said.REJECTED;
    this.corrections.say({ id: ids[i], box_px: boxes_px[i], verdict, class_name: null });
  }

  nextClass(i) {
    const { classes, class_of, num_found_classes } = this.state.content;
    this.accept(i, classes[(class_of[i] + 1) % num_found_classes].name);
  }

  undo() {
    if (this.isLocked()) return;
    const done = this.corrections.undo();
    const why = { false: "There is nothing to undo.", null: "Changed on another page since: nothing is undone." };
    this.say(why[done] ?? "", true);
  }

  draw() {
    if (this.isLocked() || !this.view.isOpen) return;
    if (this.drawing.box) return this.drawing.stop();
    const { found, mpp, size_px } = this.state.content;
    const sides = found.boxes_px.map(([x0, , x1]) => x1 - x0).sort((a, b) => a - b);
    this.drawing.start(sides[sides.length >> 1] ?? TYPICAL_UM / (mpp ?? 1), size_px);
    this.say("Drag a box; or move this one with the arrow keys (with Shift: its size) and press Enter.", true);
  }

  showDraft(box) {
    at("draw").setAttribute("aria-pressed", box !== null);
    at("view").classList.toggle("drawing", box !== null);
    if (box === null) this.say("");
    if (this.state.content) this.update();
  }

  /** A drawn box is a glomerulus of the chosen class; what was found there, and is not corrected, has this box now. */
  keepDrawn(box) {
    const { found, verdicts } = this.state.content;
    const same = found.boxes_px.findIndex((other, i) => !verdicts[i] && iou(other, box) >= SAME_IOU);
    const id = same < 0 ? crypto.randomUUID() : found.ids[same];
    const class_name = at("to-class").value;
    this.corrections.say({ id, box_px: box, verdict: said.ACCEPTED, class_name, drawn: true });
    this.select({ kind: "box", index: this.state.content.ids.indexOf(id) }, false);
  }

  async nextField() {
    const field = await this.fields.next().catch((error) => this.say(error.message));
    if (!field) return field === null && this.say("Nothing is left that the student is unsure of.", true);
    if (field.slide !== this.state.slide) await this.openSlide(field.slide, { addEntry: true });
    if (this.fields.current !== field || !this.state.content) return;
    if (this.view.isOpen) this.view.goTo(field.box_px, FIELD_SURROUNDINGS);
    this.update();
    const { number, list } = this.fields;
    this.say(`Field ${number} of ${list.length}, ${field.unsure} unsure. M: all in it is corrected.`, true);
  }

  /** Says that all in the field is corrected, or takes it back. */
  markField() {
    const field = this.fields.current;
    if (this.isLocked()) return;
    if (field?.slide !== this.state.slide) return this.say("Go to a field first: press F.", true);
    field.id ??= crypto.randomUUID();
    const verdict = this.corrections.words.has(field.id) ? said.WITHDRAWN : said.FIELD;
    this.corrections.say({ id: field.id, box_px: field.box_px, verdict, class_name: null });
  }

  /** Fields: those that are corrected, and the one that is looked at. */
  get frames() {
    const { content, slide } = this.state;
    const done = content.fields.map((box) => ({ box, text: "✓ corrected" }));
    const { current, number } = this.fields;
    const isOpen = current?.slide === slide && !this.corrections.words.has(current.id);
    return isOpen ? [...done, { box: current.box_px, text: `field ${number}` }] : done;
  }
}
