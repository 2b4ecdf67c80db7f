"use strict";
// One sample in full: its picture with boxes and masks, its caption, and its regions, linked to each
// other under the pointer and under the keyboard's focus.

OpenDet.panel = (() => {
  const { make, draw, colourOf } = OpenDet;

  /** An element with `light(regions)`; `marks` may say of each region how it changed. */
  function panelOf(detail, { title = "", marks = null, changed = null } = {}) {
    const panel = make("article", "panel");
    const regions = detail.regions ?? [];
    const parts = regions.map(() => []); // of each region all elements that light up with it
    const picture = pictureOf(detail, regions, parts);
    const telling = make("div", "telling");
    if (title) telling.append(make("p", "eyebrow", {}, title));
    telling.append(make("h2", "key say", {}, detail.key));
    if (detail.fate.length) telling.append(fateOf(detail.fate));
    if (detail.caption) telling.append(...captionOf(detail, parts, changed));
    if (regions.length) telling.append(regionList(regions, parts, marks));
    if (detail.facts) telling.append(factsOf(detail));
    panel.append(picture.element, telling);
    linkAll(panel, parts, picture.lightMasks);
    return panel;
  }

  // --- the picture

  function pictureOf(detail, regions, parts) {
    const element = make("div", "stage");
    const frame = make("div", "picture");
    if (detail.width) frame.style.setProperty("--ratio", String(detail.width / detail.height));
    if (detail.small) {
      const image = make("img", "", {
        src: detail.large || detail.small,
        width: detail.width,
        height: detail.height,
        alt: (detail.caption ?? []).map(([text]) => text).join("").slice(0, 300) || detail.key,
      });
      image.addEventListener("error", () => noPicture(frame));
      frame.append(image);
    } else {
      noPicture(frame);
    }
    let lightMasks = () => {};
    if (regions.some((one) => one.mask)) {
      const canvas = make("canvas", "masks", { "aria-hidden": "true" });
      frame.append(canvas);
      lightMasks = maskPainter(canvas, detail, regions);
      lightMasks([]);
    }
    if (detail.width) frame.append(...overlayOf(detail, regions, parts));
    element.append(frame);
    return { element, lightMasks };
  }

  function noPicture(frame) {
    frame.querySelector("img")?.remove();
    frame.classList.add("nothing");
    frame.prepend(make("p", "soft", {}, "There is no picture to show."));
  }

  function overlayOf(detail, regions, parts) {
    const { width, height } = detail;
    const svg = draw("svg", { class: "boxes", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const tags = make("div", "tags", { "aria-hidden": "true" });
    const area = ({ box: [x0, y0, x1, y1] }) => (x1 - x0) * (y1 - y0);
    const order = regions.map((_, place) => place).sort((one, other) => area(regions[other]) - area(regions[one]));
    for (const place of order) {
      const one = regions[place];
      const [x0, y0, x1, y1] = one.box;
      const at = { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
      const group = draw("g", { class: kindOf(one) }, draw("rect", { class: "halo", ...at }), draw("rect", { class: "edge", ...at }));
      group.dataset.region = place;
      svg.append(group);
      const tag = make("span", `tag ${kindOf(one)}`, {}, make("b", "", {}, String(place + 1)), make("i", "", {}, one.name));
      if (x0 > 0.6 * width) tag.style.right = `${100 - (100 * x1) / width}%`; // to end with its box
      else tag.style.left = `${(100 * x0) / width}%`;
      tag.style.top = `${(100 * y0) / height}%`;
      tags.append(tag);
      parts[place].push(group, tag);
    }
    return [svg, tags];
  }

  function kindOf(region) {
    const fate = region.crowd ? " crowd" : "";
    return `${colourOf(region.name)}${region.refusal ? " refused" : ""}${fate}`;
  }

  /** A function that paints all masks, those of the lit regions stronger. */
  function maskPainter(canvas, detail, regions) {
    const [wide, high] = OpenDet.masks.sizeOf(detail.width, detail.height);
    canvas.width = wide;
    canvas.height = high;
    const context = canvas.getContext("2d");
    const probe = make("span");
    return (lit) => {
      const image = context.createImageData(wide, high);
      const shown = regions.filter((one, place) => one.mask && (!lit.length || lit.includes(place)));
      document.body.append(probe); // a style is computed of what is in the page alone
      for (const one of shown) {
        probe.className = colourOf(one.name);
        const mark = getComputedStyle(probe).getPropertyValue("--mark").trim() || "#ffffff";
        const colour = [1, 3, 5].map((at) => parseInt(mark.slice(at, at + 2), 16));
        const size = [detail.width, detail.height];
        OpenDet.masks.paint(image.data, [wide, high], one.mask, size, [...colour, lit.length ? 150 : 105]);
      }
      probe.remove();
      context.putImageData(image, 0, 0);
    };
  }

  // --- words

  function fateOf([what, stage, reason, detail]) {
    const where = stage ? ` in ${stage}` : "";
    const told = reason === what ? "" : `: ${reason}`;
    const line = make("p", "fate", {}, make("b", "", {}, `${what}${where}${told}`));
    if (detail) line.append(make("span", "say", {}, detail));
    return line;
  }

  function captionOf(detail, parts, changed) {
    const text = make("p", "caption say");
    let at = 0;
    for (const [words, regions, phrase] of detail.caption) {
      const span = phrase ? phraseOf(regions, parts) : make("span");
      span.append(...marked(words, at, changed));
      at += words.length;
      text.append(span);
    }
    if (!at) text.append(make("span", "absent", {}, "no caption"));
    if (detail.cut) text.append(make("span", "cut", {}, `${OpenDet.counted(detail.cut)} characters more`));
    const by = detail.captionFrom ? [make("p", "soft small say", {}, `by ${detail.captionFrom}`)] : [];
    return [text, ...by];
  }

  function phraseOf(regions, parts) {
    if (!regions.length) return make("span", "phrase nowhere", { title: "no region was found for it" });
    const numbers = regions.map((one) => one + 1).join(", ");
    const span = make("span", "phrase", { tabindex: "0", role: "button", title: `region ${numbers}` });
    span.dataset.regions = regions.join(" ");
    for (const one of regions) parts[one]?.push(span);
    return span;
  }

  /** The text in pieces, what lies in [begin, end) of the caption marked as changed. */
  function marked(words, at, changed) {
    if (!changed) return [words];
    const begin = Math.min(Math.max(changed[0] - at, 0), words.length);
    const end = Math.min(Math.max(changed[1] - at, begin), words.length);
    if (begin === end) return [words];
    return [words.slice(0, begin), make("mark", "", {}, words.slice(begin, end)), words.slice(end)];
  }

  function regionList(regions, parts, marks) {
    const list = make("ol", "regions", { "aria-label": "Regions" });
    regions.forEach((one, place) => {
      const row = make("li", kindOf(one), { tabindex: "0" });
      row.dataset.regions = String(place);
      row.append(make("span", "chip", { "aria-hidden": "true" }, String(place + 1)), sayings(one), verdict(one));
      if (marks?.[place]) row.append(make("p", `mark ${marks[place].kind}`, {}, marks[place].text));
      parts[place].push(row);
      list.append(row);
    });
    return list;
  }

  function sayings(one) {
    const said = make("div", "sayings");
    const head = make("p", "", {}, make("b", "say", {}, one.name || "(no name)"));
    if (one.names.length) head.append(make("span", "soft say", {}, ` ${one.names.join(", ")}`));
    said.append(head);
    if (one.description) said.append(make("p", "say", {}, one.description));
    if (one.label && one.label !== one.name) said.append(make("p", "soft small say", {}, `source: ${one.label}`));
    if (one.agreement !== null) said.append(agreementOf(one));
    if (one.from.length) said.append(originsOf(one.from));
    return said;
  }

  function agreementOf(one) {
    const line = make("p", "soft small", {}, `agreement ${one.agreement.toFixed(3)}`);
    if (one.rival) {
      const number = one.rivalAgreement === null ? "" : ` ${one.rivalAgreement.toFixed(3)}`;
      line.append(", rival ", make("span", "say", {}, one.rival), number);
    }
    return line;
  }

  function originsOf(from) {
    const list = make("dl");
    for (const [what, text] of from) list.append(make("dt", "", {}, what), make("dd", "say", {}, text));
    return make("details", "origins", {}, make("summary", "", {}, "who said so"), list);
  }

  function verdict(one) {
    const score = one.score === null ? "" : ` ${one.score.toFixed(2)}`;
    const kind = one.refusal ? "refused" : one.crowd ? "crowd" : "kept";
    const text = one.refusal ? `refused: ${one.refusal}` : kind;
    const crowd = one.refusal && one.crowd ? ", a crowd" : "";
    return make("span", `verdict ${kind}`, {}, `${text}${crowd}`, make("small", "", {}, score));
  }

  function factsOf(detail) {
    const list = make("dl");
    for (const [what, text] of detail.facts) list.append(make("dt", "", {}, what), make("dd", "say", {}, text));
    for (const [what, text] of detail.texts) list.append(make("dt", "", {}, what), make("dd", "say", {}, text));
    return make("details", "facts", {}, make("summary", "", {}, "The image and where it is from"), list);
  }

  // --- links between picture, caption and list

  function linkAll(panel, parts, lightMasks) {
    let pinned = [];
    panel.light = (regions) => {
      parts.forEach((elements, place) => {
        for (const one of elements) one.classList.toggle("lit", regions.includes(place));
      });
      panel.classList.toggle("dim", regions.length > 0);
      lightMasks(regions);
    };
    const light = (regions) => {
      panel.light(regions.length ? regions : pinned);
      panel.twin?.(regions.length ? regions : pinned);
    };
    const meant = (element) => {
      const told = element.dataset.regions ?? element.dataset.region;
      return told.split(" ").map(Number);
    };
    for (const one of panel.querySelectorAll("[data-regions], [data-region]")) {
      const regions = meant(one);
      one.addEventListener("pointerenter", () => light(regions));
      one.addEventListener("pointerleave", () => light([]));
      one.addEventListener("focus", () => light(regions));
      one.addEventListener("blur", () => light([]));
      const pin = () => {
        pinned = String(pinned) === String(regions) ? [] : regions;
        light([]);
        if (one.dataset.region) parts[regions[0]].at(-1).scrollIntoView({ block: "nearest" });
      };
      one.addEventListener("click", (event) => {
        if (!event.target.closest("summary, dl")) pin();
      });
      if (one.getAttribute("role") === "button") {
        one.addEventListener("keydown", (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          pin();
        });
      }
    }
  }

  /** Buttons that show and hide what lies over pictures, for all panels within `holder`. */
  function toggles(holder, kinds) {
    const bar = make("div", "toggles", { role: "group", "aria-label": "What is drawn" });
    for (const [kind, letter, hidden] of kinds) {
      const button = make("button", "", { type: "button", title: `key ${letter}` }, kind);
      const set = (on) => {
        button.setAttribute("aria-pressed", String(on));
        holder.classList.toggle(`without-${kind}`, !on);
      };
      set(!hidden);
      button.addEventListener("click", () => set(button.getAttribute("aria-pressed") !== "true"));
      button.dataset.letter = letter;
      bar.append(button);
    }
    return bar;
  }

  const TOGGLES = [["boxes", "b"], ["names", "n"], ["masks", "m"], ["refused", "r"]];

  return { panelOf, toggles, TOGGLES };
})();
