// The fields whose correction would teach most, one after the other, as `mhkd next` lists them.

export class Fields {
  /** `ask()` gives the list: {slide, box_px, unsure}. */
  constructor(ask) {
    Object.assign(this, { ask, list: [], number: 0, current: null });
  }

  /** The next one; null where there is none. After the last one the list is asked for anew. */
  async next() {
    if (this.number >= this.list.length) {
      this.list = await this.ask();
      this.number = 0;
    }
    this.current = this.list[this.number] ?? null;
    if (this.current) this.number += 1;
    return this.current;
  }
}
