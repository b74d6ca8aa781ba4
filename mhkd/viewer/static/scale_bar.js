// The scale bar: the longest round length that fits.

const LONGEST_PX = 140;

/** The greatest 1, 2 or 5 times a power of ten that is at most `length`. */
export function roundDown(length) {
  const power = 10 ** Math.floor(Math.log10(length));
  return [5, 2, 1].find((digit) => digit * power <= length * (1 + 1e-9)) * power;
}

/** Draws the bar for a resolution, in micrometres per pixel of the screen. */
export function showScale(umPerPixel) {
  const length = roundDown(umPerPixel * LONGEST_PX);
  document.getElementById("scale-line").style.width = `${length / umPerPixel}px`;
  document.getElementById("scale-text").textContent =
    length >= 1000 ? `${length / 1000} mm` : `${Number(length.toPrecision(1))} µm`;
  document.getElementById("scale").hidden = false;
}
