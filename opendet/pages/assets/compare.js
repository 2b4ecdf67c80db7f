"use strict";
// Two collections side by side: rows of samples that are in one alone or that differ, and one sample
// as both have it. As in the gallery, the address behind the # holds the state.

(() => {
  const { make, counted } = OpenDet;
  const PER_PAGE = 24;
  const KINDS = ["only here", "only there", "the same", "differing"];
  const ASPECTS = ["fate", "image", "caption", "boxes", "names", "decisions", "descriptions"];
  const IMAGE = ASPECTS.indexOf("image");
  const here = new OpenDet.Samples("a");
  const there = new OpenDet.Samples("b");
  const seen = (id) => document.getElementById(id);
  const tell = (text) => (seen("count").textContent = text);
  let rows = null; // the comparison's columns
  let found = []; // places of the rows that pass
  let state = read();
  let drawn = "";

  // --- state

  function read() {
    const given = new URLSearchParams(location.hash.replace(/^#/, ""));
    const page = Math.max(1, Math.floor(Number(given.get("page"))) || 1);
    const text = (name) => given.get(name) ?? "";
    return { q: text("q"), kind: text("kind"), aspect: text("aspect"), sample: text("sample"), page };
  }

  function written(change) {
    const given = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...state, ...change })) {
      if (value && !(name === "page" && value === 1)) given.set(name, value);
    }
    return `#${given}`;
  }

  function go(change, { replace = false } = {}) {
    state = { ...state, ...change }; // at once, for the next key may come before the address's event
    if (replace) location.replace(written({}));
    else location.hash = written({});
  }

  function follow() {
    state = read();
    for (const name of ["q", "kind", "aspect"]) {
      if (seen(name) !== document.activeElement || name !== "q") seen(name).value = state[name];
    }
    showRows();
    showSample();
  }

  // --- rows

  function passing() {
    const kind = KINDS.indexOf(state.kind);
    const aspect = ASPECTS.indexOf(state.aspect);
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const passed = [];
    rows.keys.forEach((key, place) => {
      if (state.kind ? rows.kinds[place] !== kind : rows.kinds[place] === 2) return;
      if (state.aspect && !((rows.aspects[place] >> aspect) & 1)) return;
      const lower = key.toLowerCase();
      if (words.every((word) => lower.includes(word))) passed.push(place);
    });
    return passed;
  }

  function showRows() {
    found = passing();
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    const page = Math.min(state.page, pages);
    tell(`${counted(found.length)} of ${counted(rows.keys.length)} samples`);
    const drawing = written({ sample: "", page });
    if (drawing === drawn) return;
    drawn = drawing;
    const first = (page - 1) * PER_PAGE;
    seen("rows").replaceChildren(...found.slice(first, first + PER_PAGE).map(rowOf));
    seen("empty").hidden = found.length > 0;
    showPager(page, pages);
  }

  function showPager(page, pages) {
    const turn = (text, to, label) => {
      const button = make("button", "", { type: "button", "aria-label": label }, text);
      button.disabled = to < 1 || to > pages;
      button.addEventListener("click", () => go({ page: to }));
      return button;
    };
    seen("pages").hidden = pages < 2;
    const where = make("span", "soft", {}, `${counted(page)} of ${counted(pages)}`);
    seen("pages").replaceChildren(turn("‹", page - 1, "page before"), where, turn("›", page + 1, "next page"));
  }

  function rowOf(place) {
    const link = make("a", "tile pair", { href: written({ sample: rows.keys[place] }) });
    link.append(make("span", "key say", {}, rows.keys[place]), badges(place));
    link.append(half(place, here, numberIn(here, place)), half(place, there, numberIn(there, place)));
    return make("li", "", {}, link);
  }

  function badges(place) {
    const line = make("span", "said");
    const kind = rows.kinds[place];
    if (kind !== 3) line.append(make("span", `badge-kind k-${kind}`, {}, KINDS[kind]));
    for (const one of changedIn(place)) line.append(make("span", "badge-kind", {}, one));
    return line;
  }

  const changedIn = (place) => ASPECTS.filter((_, bit) => (rows.aspects[place] >> bit) & 1);

  function numberIn(samples, place) {
    const [piece, at] = samples === here
      ? [rows.herePiece[place], rows.herePlace[place]]
      : [rows.therePiece[place], rows.therePlace[place]];
    return piece < 0 ? -1 : samples.at(piece, at);
  }

  /** A small picture of one side with its boxes. */
  function half(place, samples, number) {
    const frame = make("span", "picture");
    if (number < 0) {
      frame.classList.add("nothing");
      frame.append(make("span", "soft", {}, "not here"));
      return frame;
    }
    const source = pictureOf(place, samples, number);
    if (!source) {
      frame.classList.add("nothing");
      frame.append(make("span", "soft", {}, samples.fates.texts[samples.fate[number]] || "no picture"));
      return frame;
    }
    const [width, height] = [samples.width[number], samples.height[number]];
    const side = samples === here ? "here" : "there";
    frame.append(make("img", "", { src: source, width, height, loading: "lazy", alt: `${samples.key[number]}, ${side}` }));
    samples.card(number).then(([, boxes]) => frame.append(OpenDet.overlayOf(samples, number, boxes)), complain);
    return frame;
  }

  /** An image that both sides have was cut once, for the first of them. */
  function pictureOf(place, samples, number) {
    if (!samples.picture[number]) return "";
    const own = numberIn(here, place);
    const shared = own >= 0 && here.picture[own] && !((rows.aspects[place] >> IMAGE) & 1);
    return shared ? here.smallOf(own) : samples.smallOf(number);
  }

  // --- one sample as both have it

  let alone = "";

  async function showSample() {
    const dialog = seen("alone");
    if (!state.sample) {
      alone = "";
      if (dialog.open) dialog.close();
      return;
    }
    if (alone === state.sample) return;
    const place = rows.keys.indexOf(state.sample);
    if (place < 0) return tell(`no sample has the key ${state.sample}`);
    alone = state.sample;
    const sides = [here, there];
    const numbers = sides.map((samples) => numberIn(samples, place));
    try {
      const details = await Promise.all(sides.map((samples, side) => (numbers[side] < 0 ? null : samples.detail(numbers[side]))));
      if (alone === state.sample) seen("panel").replaceChildren(...panelsOf(details));
    } catch (error) {
      complain(error);
    }
    const told = changedIn(place);
    seen("where").textContent = told.length ? `differ in ${told.join(", ")}` : KINDS[rows.kinds[place]];
    if (!dialog.open) {
      dialog.showModal();
      dialog.focus();
    }
    dialog.scrollTop = 0;
  }

  function panelsOf([own, its]) {
    const titles = [here, there].map((samples, side) => `${side ? "there" : "here"}: ${samples.about.name}`);
    if (!own || !its) {
      return [own, its].map((detail, side) => (detail ? OpenDet.panel.panelOf(detail, { title: titles[side] }) : absent(titles[side])));
    }
    const pairs = pairUp(own.regions ?? [], its.regions ?? []);
    const spans = captionChange(own.caption, its.caption);
    const first = OpenDet.panel.panelOf(own, { title: titles[0], marks: marksOf(own, its, pairs.own), changed: spans?.[0] });
    const second = OpenDet.panel.panelOf(its, { title: titles[1], marks: marksOf(its, own, pairs.its), changed: spans?.[1] });
    linkTwins(first, second, pairs.own);
    linkTwins(second, first, pairs.its);
    return [first, second];
  }

  const absent = (title) => make("article", "panel", {}, make("p", "eyebrow", {}, title), make("p", "absent", {}, "It is not in this collection."));

  const linkTwins = (panel, other, pairs) => {
    panel.twin = (regions) => other.light(regions.map((one) => pairs[one]).filter((one) => one >= 0));
  };

  /** For each region its counterpart on the other side, or -1: equal boxes first, then those that
   *  overlap by half, the most alike first. */
  function pairUp(own, its) {
    const scores = [];
    own.forEach((one, place) => its.forEach((other, to) => {
      const overlap = iou(one.box, other.box);
      if (overlap >= 0.5) scores.push([overlap + (one.name === other.name ? 1e-3 : 0), place, to]);
    }));
    scores.sort((one, other) => other[0] - one[0]);
    const pairs = { own: own.map(() => -1), its: its.map(() => -1) };
    for (const [, place, to] of scores) {
      if (pairs.own[place] >= 0 || pairs.its[to] >= 0) continue;
      pairs.own[place] = to;
      pairs.its[to] = place;
    }
    return pairs;
  }

  function iou([ax0, ay0, ax1, ay1], [bx0, by0, bx1, by1]) {
    const shared = Math.max(0, Math.min(ax1, bx1) - Math.max(ax0, bx0)) * Math.max(0, Math.min(ay1, by1) - Math.max(ay0, by0));
    return shared / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared || 1);
  }

  function marksOf(detail, other, pairs) {
    return (detail.regions ?? []).map((one, place) => {
      if (pairs[place] < 0) return { kind: "only", text: "only on this side" };
      const twin = other.regions[pairs[place]];
      const words = (region) => [region.name, ...region.names].join(", ");
      const told = [
        words(one) !== words(twin) && `called ${words(twin) || "nothing"} on the other`,
        one.refusal !== twin.refusal && (twin.refusal ? `refused there: ${twin.refusal}` : "kept there"),
        String(one.box) !== String(twin.box) && "another box",
        one.crowd !== twin.crowd && (twin.crowd ? "a crowd there" : "no crowd there"),
        one.description !== twin.description && "another description",
        one.mask !== twin.mask && "another mask",
      ].filter(Boolean);
      return told.length ? { kind: "changed", text: told.join("; ") } : null;
    });
  }

  /** Where the two captions differ, in each: what is left without their common beginning and end. */
  function captionChange(own, its) {
    const [one, other] = [own, its].map((spans) => (spans ?? []).map(([text]) => text).join(""));
    if (one === other) return null;
    let begin = 0;
    while (begin < one.length && one[begin] === other[begin]) begin++;
    let end = 0;
    while (end < Math.min(one.length, other.length) - begin && one.at(-1 - end) === other.at(-1 - end)) end++;
    return [[begin, one.length - end], [begin, other.length - end]];
  }

  function step(by) {
    const place = found.findIndex((one) => rows.keys[one] === state.sample) + by;
    if (place < 0 || place >= found.length || place - by < 0) return;
    go({ sample: rows.keys[found[place]], page: Math.floor(place / PER_PAGE) + 1 }, { replace: true });
  }

  // --- beginning

  function listen() {
    let typing = 0;
    seen("filters").addEventListener("submit", (event) => event.preventDefault());
    seen("q").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => go({ q: seen("q").value, page: 1 }, { replace: true }), 200);
    });
    for (const name of ["kind", "aspect"]) seen(name).addEventListener("change", () => go({ [name]: seen(name).value, page: 1 }));
    seen("before").addEventListener("click", () => step(-1));
    seen("after").addEventListener("click", () => step(1));
    seen("close").addEventListener("click", () => go({ sample: "" }));
    seen("alone").addEventListener("cancel", (event) => {
      event.preventDefault();
      go({ sample: "" });
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !state.sample) return;
      if (event.key === "ArrowLeft") step(-1);
      else if (event.key === "ArrowRight") step(1);
      else seen("alone").querySelector(`[data-letter="${CSS.escape(event.key)}"]`)?.click();
    });
    window.addEventListener("hashchange", follow);
  }

  function complain(error) {
    seen("trouble").hidden = false;
    seen("trouble").textContent = error.message;
  }

  async function begin() {
    seen("tools").append(OpenDet.panel.toggles(seen("alone"), OpenDet.panel.TOGGLES));
    try {
      await here.open(); // first, for its names choose their colours first
      await there.open();
      rows = await OpenDet.load("data/comparison.js");
    } catch (error) {
      return complain(error);
    }
    listen();
    follow();
    document.body.dataset.ready = "yes";
  }

  begin();
})();
