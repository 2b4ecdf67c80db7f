"use strict";
// What galleries and comparisons draw over their small pictures.

/** Boxes, in thousandths of the image, over a picture that is as large as its frame lets it be. */
OpenDet.overlayOf = (samples, number, boxes) => {
  const { draw, colourOf } = OpenDet;
  const [across, down] = [samples.width[number] / 1000, samples.height[number] / 1000];
  const viewBox = `0 0 ${1000 * across} ${1000 * down}`;
  const svg = draw("svg", { class: "boxes", viewBox, "aria-hidden": "true" });
  const first = samples.region[number];
  for (let place = 0; place < boxes.length / 4; place++) {
    const [x, y, width, height] = boxes.slice(4 * place, 4 * place + 4);
    const one = first + place;
    const refused = samples.refusal[one] ? " refused" : "";
    const crowd = samples.crowd[one] ? " crowd" : "";
    const kind = `${colourOf(samples.names.texts[samples.name[one]])}${refused}${crowd}`;
    const at = { x: x * across, y: y * down, width: width * across, height: height * down };
    svg.append(draw("g", { class: kind }, draw("rect", { class: "halo", ...at }), draw("rect", { class: "edge", ...at })));
  }
  return svg;
};
