// How many boxes have which score, above the slider that sets the threshold.

const BINS = 50;
const THUMB_PX = 8; // the slider's ends lie inside its track

/** Bars from `lowest` to 1; those of boxes below `threshold` are pale. */
export function drawHistogram(canvas, scores, lowest, threshold) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const counts = new Array(BINS).fill(0);
  const bin = (score) => Math.min(BINS - 1, Math.max(0, Math.floor(((score - lowest) / (1 - lowest)) * BINS)));
  scores.forEach((s) => counts[bin(s)]++);
  const most = counts.reduce((a, b) => Math.max(a, b), 1);
  const step = (width - 2 * THUMB_PX) / BINS;
  counts.forEach((n, k) => {
    pen.fillStyle = lowest + ((k + 0.5) / BINS) * (1 - lowest) >= threshold ? "#8d74b3" : "#e0dae8";
    const bar = n ? Math.max(2, (n / most) * height) : 0;
    pen.fillRect(THUMB_PX + k * step, height - bar, step - 1, bar);
  });
}
