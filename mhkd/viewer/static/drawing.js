// A box that a person draws: by dragging, or by the arrow keys from where it is put.

const STEP_PX = 8; // of the screen, an arrow key
const LEAST_PX = 4; // of the screen: less is a click

export class Drawing {
  /** `onChange(box)` is called with the box as it is now, null at the end; `onDone(box)` with one to be kept. */
  constructor(view, { onChange, onDone }) {
    Object.assign(this, { view, onChange, onDone, box: null, corner: null });
  }

  /** Begins with a box in the middle of the view, in image pixels; it stays on the slide. */
  start(side, [width, height]) {
    const [x, y] = this.view.center();
    this.size = [width, height];
    this.view.onDrag = (phase, ...at) => this.drag(phase, at);
    this.set([x - side / 2, y - side / 2, x + side / 2, y + side / 2]);
  }

  stop() {
    this.view.onDrag = null;
    this.corner = this.box = null;
    this.onChange(null);
  }

  finish() {
    const { box } = this;
    const least = LEAST_PX / this.view.toScreen.scale;
    if (box[2] - box[0] < least || box[3] - box[1] < least) return;
    this.stop();
    this.onDone(box);
  }

  set(box) {
    const [width, height] = this.size;
    const within = (v, most) => Math.min(Math.max(v, 0), most);
    this.box = [within(box[0], width), within(box[1], height), within(box[2], width), within(box[3], height)];
    this.onChange(this.box);
  }

  drag(phase, [x, y]) {
    if (phase === "press") this.corner = [x, y];
    if (!this.corner || phase === "press") return;
    const [x0, y0] = this.corner;
    this.set([Math.min(x0, x), Math.min(y0, y), Math.max(x0, x), Math.max(y0, y)]);
    if (phase === "end") {
      this.corner = null;
      this.finish();
    }
  }

  /** Whether a key is meant for the box: arrows move it, with Shift they change its size. */
  key({ key, shiftKey }) {
    const step = STEP_PX / this.view.toScreen.scale;
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[key] ?? [];
    if (key === "Enter") this.finish();
    else if (key === "Escape") this.stop();
    else if (dx === undefined) return false;
    else {
      const [x0, y0, x1, y1] = this.box;
      if (shiftKey) this.set([x0, y0, Math.max(x0 + step, x1 + dx), Math.max(y0 + step, y1 + dy)]);
      else this.set([x0 + dx, y0 + dy, x1 + dx, y1 + dy]);
    }
    return true;
  }
}
