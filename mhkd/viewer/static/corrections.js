// What a person says of what was found: sent at once, and what other pages say comes back.

const ASK_EVERY_MS = 2000;
export const [ACCEPTED, REJECTED, FIELD, WITHDRAWN, DRAWN] = ["accepted", "rejected", "field", "withdrawn", "drawn"];

/**
 * What was found with the words said of it: boxes, outlines, scores, classes and ids, those drawn by a person last
 * or in the place of what was found, with a verdict of each (null: none) and the fields that are corrected.
 */
export function corrected(found, words, classNames) {
  const now = { fields: [], verdicts: found.ids.map(() => null) };
  for (const name of ["boxes_px", "rings_of", "scores", "class_of", "ids"]) now[name] = [...found[name]];
  const indexOf = new Map(found.ids.map((id, i) => [id, i]));
  for (const word of words) {
    let i = indexOf.get(word.id);
    if (word.verdict === FIELD) now.fields.push(word.box_px);
    else if (word.verdict === REJECTED && i !== undefined) now.verdicts[i] = REJECTED;
    else if (word.verdict === ACCEPTED) {
      const drawn = word.drawn || i === undefined;
      i ??= now.ids.push(word.id) - 1;
      now.verdicts[i] = drawn ? DRAWN : ACCEPTED;
      if (drawn) [now.scores[i], now.rings_of[i]] = [1, null];
      if (!now.rings_of[i]) now.boxes_px[i] = word.box_px; // who accepts an outline says nothing of a box
      now.class_of[i] = Math.max(0, classNames.indexOf(word.class_name));
    }
  }
  return now;
}

/** Whether two words say the same; the server rounds boxes. */
function isSame(a, b) {
  if (!a || !b) return !a && !b;
  const near = a.box_px.every((v, k) => Math.abs(v - b.box_px[k]) < 0.05);
  return near && !a.drawn === !b.drawn && a.verdict === b.verdict && a.class_name === b.class_name;
}

/** The words on one slide after the other, and those that are still to be kept. */
export class Corrections {
  /**
   * `onChange(others)` is called when anything has been said, with what other pages said; `onTrouble(text)` when
   * something is not kept; `freshToken()` asks the server, started anew perhaps, for its token. */
  constructor({ onChange, onTrouble, freshToken }) {
    Object.assign(this, { onChange, onTrouble, freshToken, token: "", busy: false, asleep: false });
    this.queue = []; // {place, word}, the first is on its way
    this.undoable = new Map(); // place -> [{before, after}]
    this.close();
    setInterval(() => (this.queue.length ? this.send() : this.ask()), ASK_EVERY_MS);
    window.addEventListener("beforeunload", (e) => this.queue.length && e.preventDefault());
  }

  close() {
    this.session = {}; // answers to questions of before are not taken
    this.place = null;
    this.kept = new Map();
    this.since = 0;
  }

  /** Begins with a slide, with what the server said of it. */
  open(index, content) {
    this.close();
    this.place = `${index}-${content.key}`;
    this.asleep = false;
    this.take(content);
  }

  /** The last word on each object of the slide that stands, kept or not yet. */
  get words() {
    const words = new Map(this.kept);
    for (const { place, word } of this.queue) if (place === this.place) words.set(word.id, word);
    return new Map([...words].filter(([, word]) => word.verdict !== WITHDRAWN));
  }

  say(word) {
    const before = this.words.get(word.id);
    if (isSame(before, word)) return;
    if (!this.undoable.has(this.place)) this.undoable.set(this.place, []);
    this.undoable.get(this.place).push({ before, after: word });
    this.put(word);
  }

  /** Takes back the last word said here: true; false where there is none, null where others spoke since. */
  undo() {
    const last = this.undoable.get(this.place)?.pop();
    if (!last) return false;
    const { before, after } = last;
    const now = this.words.get(after.id);
    if (!isSame(now, after.verdict === WITHDRAWN ? undefined : after)) return null;
    this.put(before ?? { ...after, verdict: WITHDRAWN, class_name: null });
    return true;
  }

  put(word) {
    this.queue.push({ place: this.place, word });
    this.asleep = false;
    this.onChange([]);
    this.send();
  }

  /** Sends what is to be kept, one word after the other. */
  async send() {
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.queue.length) {
        const { place, word } = this.queue[0];
        const { session } = this;
        const [answer, reason] = await this.post(place, word);
        if (!answer && !reason.refused) {
          this.onTrouble(`${this.queue.length} not saved yet, tried again until it is: ${reason.text}`);
          break;
        }
        this.queue.shift();
        if (answer && session === this.session && place === this.place) this.onChange(this.take(answer, word.id));
        else this.onChange([]);
        if (!answer) this.onTrouble(reason.text);
      }
    } finally {
      this.busy = false;
    }
  }

  /** [the answer, or null and why there is none]. */
  async post(place, word) {
    const once = () =>
      fetch(`corrections/${place}/${place === this.place ? this.since : 0}`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-MHKD-Token": this.token },
        body: JSON.stringify(word),
      });
    try {
      let answer = await once();
      if (answer.status === 403) {
        this.token = await this.freshToken();
        answer = await once();
      }
      if (answer.ok) return [await answer.json(), null];
      return [null, { refused: answer.status < 500, text: (await answer.text()).trim() }];
    } catch {
      return [null, { refused: false, text: "the server has stopped. Start mhkd view again and leave this page open." }];
    }
  }

  /** Asks what other pages have said. */
  async ask() {
    if (this.busy || this.asleep || !this.place || document.hidden) return;
    this.busy = true;
    const { session } = this;
    try {
      const answer = await fetch(`corrections/${this.place}/${this.since}`);
      if (!answer.ok) throw new Error(answer.status);
      const content = await answer.json();
      const others = session === this.session ? this.take(content) : [];
      if (others.length) this.onChange(others);
    } catch {
      this.asleep = true; // until something is done here
    } finally {
      this.busy = false;
    }
    if (this.queue.length) this.send();
  }

  /** Takes what the server says; returns what is not the page's own. */
  take({ since, records }, own = null) {
    this.since = since;
    records.forEach((word) => this.kept.set(word.id, word));
    const last = own === null ? -1 : records.findLastIndex((word) => word.id === own);
    return records.filter((_, k) => k !== last);
  }
}
