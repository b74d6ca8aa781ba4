// The address of what is looked at: #<slide> or #<slide>/<number of a glomerulus>.

/** {slide, number}, number null where none is named; null for an address that means nothing. */
export function read(hash) {
  try {
    const [slide, number] = hash.slice(1).split("/").map(decodeURIComponent);
    return { slide, number: number === undefined ? null : Number(number) };
  } catch {
    return null; // broken by who sent it
  }
}

/** `addEntry`: back leads to the one before. */
export function write({ slide, number }, addEntry) {
  const hash = `#${encodeURIComponent(slide)}${number === null ? "" : `/${number}`}`;
  if (hash !== location.hash) history[addEntry ? "pushState" : "replaceState"](null, "", hash);
}
