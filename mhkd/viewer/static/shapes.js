// Boxes, [x0, y0, x1, y1], and rings, each [x, y, x, y, ...], in image pixels.

/** Box around an outline. */
export function boxOf(outline) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const ring of outline.rings) {
    for (let k = 0; k < ring.length; k += 2) {
      box[0] = Math.min(box[0], ring[k]);
      box[1] = Math.min(box[1], ring[k + 1]);
      box[2] = Math.max(box[2], ring[k]);
      box[3] = Math.max(box[3], ring[k + 1]);
    }
  }
  return box;
}

/** Whether a point is in the rings or, where there are none, in the box; or no farther away than `slack`. */
export function isAt([x, y], [x0, y0, x1, y1], rings, slack) {
  const inBox = x >= x0 - slack && x <= x1 + slack && y >= y0 - slack && y <= y1 + slack;
  return inBox && (!rings || isIn(rings, x, y) || edgesOf(rings).some((edge) => distance(edge, x, y) <= slack));
}

function isIn(rings, x, y) {
  const crossed = edgesOf(rings).filter(([ax, ay, bx, by]) => ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax));
  return crossed.length % 2 === 1;
}

/** [ax, ay, bx, by] of each edge. */
function edgesOf(rings) {
  return rings.flatMap((ring) => {
    const n = ring.length;
    return Array.from({ length: n / 2 }, (_, k) => [0, 1, 2, 3].map((j) => ring[(2 * k + j) % n]));
  });
}

function distance([ax, ay, bx, by], x, y) {
  const [dx, dy] = [bx - ax, by - ay];
  const t = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - ax - t * dx, y - ay - t * dy);
}
