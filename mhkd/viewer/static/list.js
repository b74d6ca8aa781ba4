// A list of any length: only the rows in sight are in the document. One tab stop; the arrows go through it.

const SPARE_ROWS = 10;

export class LongList {
  /** `fill(row, entry)` writes an entry into an empty `<li>`; `onSelect(entry)` is called for a click or a key. */
  constructor(element, fill, onSelect) {
    this.element = element; // scrolls; the <ol> in it has the rows
    this.fill = fill;
    this.onSelect = onSelect;
    this.entries = [];
    this.current = -1;
    element.addEventListener("scroll", () => this.draw());
    element.addEventListener("click", (e) => {
      const row = e.target.closest("li");
      if (row) this.onSelect(this.entries[row.dataset.position]);
    });
    new ResizeObserver(() => this.draw()).observe(element);
  }

  get rowHeight() {
    return parseFloat(getComputedStyle(this.element).getPropertyValue("--row-height"));
  }

  /** Shows other entries; `isCurrent(entry)` is the selected one. */
  show(entries, isCurrent) {
    this.entries = entries;
    this.drawn = null;
    this.mark(isCurrent, false);
  }

  /** Selects another row, or none; `follow` brings it into sight. */
  mark(isCurrent, follow = true) {
    this.current = this.entries.findIndex(isCurrent);
    if (follow && this.current >= 0) {
      const [top, height] = [this.current * this.rowHeight, this.element.clientHeight];
      if (top < this.element.scrollTop) this.element.scrollTop = top;
      const below = top + this.rowHeight - height;
      if (below > this.element.scrollTop) this.element.scrollTop = below;
    }
    this.drawn = null;
    this.draw();
  }

  /** Selects the next row (1) or the one before (-1), from the last on to the first. */
  step(by) {
    const n = this.entries.length;
    if (n) this.onSelect(this.entries[this.current < 0 ? (by > 0 ? 0 : n - 1) : (this.current + by + n) % n]);
  }

  draw() {
    const { element, entries, rowHeight } = this;
    const first = Math.max(0, Math.floor(element.scrollTop / rowHeight) - SPARE_ROWS);
    const last = Math.min(entries.length, Math.ceil((element.scrollTop + element.clientHeight) / rowHeight) + SPARE_ROWS);
    if (this.drawn === `${first} ${last}`) return;
    this.drawn = `${first} ${last}`;
    const rows = [];
    for (let k = Math.min(first, last); k < last; k++) {
      const row = document.createElement("li");
      row.id = `row-${k}`;
      row.dataset.position = k;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", k === this.current);
      row.setAttribute("aria-posinset", k + 1);
      row.setAttribute("aria-setsize", entries.length);
      this.fill(row, entries[k]);
      rows.push(row);
    }
    const list = element.firstElementChild;
    list.replaceChildren(...rows);
    list.style.paddingTop = `${Math.min(first, last) * rowHeight}px`;
    list.style.paddingBottom = `${(entries.length - last) * rowHeight}px`;
    const inSight = this.current >= first && this.current < last;
    if (inSight) element.setAttribute("aria-activedescendant", `row-${this.current}`);
    else element.removeAttribute("aria-activedescendant");
  }
}
