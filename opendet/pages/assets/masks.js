"use strict";
// Masks in COCO's compressed run-length code, drawn on a canvas over the picture.

OpenDet.masks = (() => {
  const LONGEST = 1024; // pixels of the canvas

  /** Lengths of the runs, outside and inside in turn, down the columns. */
  function runs(counts) {
    const found = [];
    let at = 0;
    while (at < counts.length) {
      let value = 0;
      let shift = 0;
      let more = true;
      while (more) {
        const digit = counts.charCodeAt(at++) - 48;
        if (!(digit >= 0 && digit < 64)) return null; // no such code
        value |= (digit & 0x1f) << shift;
        shift += 5;
        more = (digit & 0x20) !== 0;
        if (!more && digit & 0x10) value |= -1 << shift;
      }
      if (found.length > 2) value += found[found.length - 2]; // written as a difference
      found.push(value);
    }
    return found;
  }

  /** A canvas's size for an image: as wide and high in proportion, not above LONGEST. */
  function sizeOf(width, height) {
    const scale = Math.min(1, LONGEST / Math.max(width, height));
    return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  }

  /** Put a mask of an image of `width` x `height` pixels into `data` (RGBA of wide x high). */
  function paint(data, [wide, high], counts, [width, height], [red, green, blue, alpha]) {
    const lengths = runs(counts);
    if (!lengths) return;
    const columns = sampled(width, wide);
    let start = 0;
    lengths.forEach((length, turn) => {
      if (turn % 2) paintRun(start, start + length);
      start += length;
    });

    function paintRun(begin, end) {
      const last = Math.min(Math.floor((end - 1) / height), width - 1);
      for (let x = Math.floor(begin / height); x <= last; x++) {
        if (columns[x] < 0) continue;
        const top = Math.ceil((Math.max(begin - x * height, 0) * high) / height - 0.5);
        const below = Math.ceil((Math.min(end - x * height, height) * high) / height - 0.5);
        for (let y = Math.max(top, 0); y < Math.min(below, high); y++) {
          const to = 4 * (y * wide + columns[x]);
          data[to] = red;
          data[to + 1] = green;
          data[to + 2] = blue;
          data[to + 3] = alpha;
        }
      }
    }
  }

  /** For each of the image's columns the canvas's column that shows it, or -1. */
  function sampled(width, wide) {
    const columns = new Int32Array(width).fill(-1);
    for (let x = 0; x < wide; x++) columns[Math.floor(((x + 0.5) * width) / wide)] = x;
    return columns;
  }

  return { runs, sizeOf, paint };
})();
