// Which boxes are right: what was found against what was annotated.

const LEAST_IOU = 0.5;

export function iou(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return (width * height) / (area(a) + area(b) - width * height);
}

/** Finds the boxes near another one: the slide is divided into squares of about one box. */
class Neighbours {
  constructor(boxes) {
    this.boxes = boxes;
    const sides = boxes.map(([x0, y0, x1, y1]) => Math.max(x1 - x0, y1 - y0, 1)).sort((a, b) => a - b);
    // No smaller than a hundredth of the largest: a box then lies in 10,000 squares at most.
    this.side = Math.max(sides[sides.length >> 1] || 1, (sides[sides.length - 1] || 1) / 100);
    this.squares = new Map();
    boxes.forEach((box, k) => {
      for (const key of this.keys(box)) {
        if (!this.squares.has(key)) this.squares.set(key, []);
        this.squares.get(key).push(k);
      }
    });
  }

  *keys([x0, y0, x1, y1]) {
    const at = (v) => Math.floor(v / this.side);
    for (let y = at(y0); y <= at(y1); y++) for (let x = at(x0); x <= at(x1); x++) yield `${x},${y}`;
  }

  /** [index, IoU] of the boxes that overlap enough, by index. */
  of(box) {
    const near = new Set();
    for (const key of this.keys(box)) for (const k of this.squares.get(key) || []) near.add(k);
    return [...near]
      .sort((a, b) => a - b)
      .map((k) => [k, iou(box, this.boxes[k])])
      .filter(([, overlap]) => overlap >= LEAST_IOU);
  }
}

/**
 * Compares as COCO does: the box with the highest score takes the annotation of its class that it overlaps best
 * and that is still free; an annotation without a class is of every class. What is left over is compared again
 * whatever the class: those pairs are right but for the class.
 */
export class Comparison {
  constructor(content, truthBoxes) {
    this.content = content;
    this.byScore = [...content.scores.keys()].sort((a, b) => content.scores[b] - content.scores[a] || a - b);
    const neighbours = truthBoxes.length ? new Neighbours(truthBoxes) : null;
    this.candidates = content.boxes_px.map((box) => (neighbours ? neighbours.of(box) : []));
  }

  /**
   * `isShown` says of a box, `isTruth` of an annotation whether it takes part. Returns the boxes that found
   * nothing, those of another class than their annotation's (box -> annotation), the annotations that are missed.
   */
  of(isShown, isTruth) {
    const { class_of: classOf, outlines } = this.content;
    const missed = new Set([...outlines.keys()].filter(isTruth));
    const take = (i, fits) => {
      let [best, bestIou] = [-1, 0];
      for (const [j, overlap] of this.candidates[i]) {
        if (missed.has(j) && overlap > bestIou && fits(outlines[j].class)) [best, bestIou] = [j, overlap];
      }
      missed.delete(best);
      return best;
    };
    const left = [];
    for (const i of this.byScore) {
      if (isShown(i) && take(i, (c) => c === null || c === classOf[i]) < 0) left.push(i);
    }
    const [extra, wrong] = [new Set(), new Map()];
    for (const i of left) {
      const found = take(i, () => true);
      if (found < 0) extra.add(i);
      else wrong.set(i, found);
    }
    return { extra, wrong, missed };
  }
}
