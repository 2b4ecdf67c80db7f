"use strict";
// Which samples are shown and in which order: functions of the columns and of the page's state. The
// state is the address's part behind the #, so that a link shows what its sender saw.

OpenDet.filters = (() => {
  const { UNKNOWN } = OpenDet;
  const SINGLE = ["q", "source", "split", "why", "by", "from", "to", "sort", "page", "sample"];

  function read(hash) {
    const given = new URLSearchParams(hash.replace(/^#/, ""));
    const state = { names: given.getAll("name") };
    for (const one of SINGLE) state[one] = given.get(one) ?? "";
    state.page = Math.max(1, Math.floor(Number(state.page)) || 1);
    state.boxes = given.get("boxes") !== "off";
    state.refused = given.get("refused") !== "off";
    return state;
  }

  function write(state) {
    const given = new URLSearchParams();
    for (const name of state.names) given.append("name", name);
    for (const one of SINGLE) {
      if (state[one] && !(one === "page" && state.page === 1)) given.set(one, state[one]);
    }
    if (!state.boxes) given.set("boxes", "off");
    if (!state.refused) given.set("refused", "off");
    return given.toString();
  }

  /** The same for states that let the same samples through, in the same order. */
  function chosen(state) {
    return write({ ...state, page: 1, sample: "", boxes: true, refused: true });
  }

  /** A test of one region, by name too where `name` is not -1; null where any one will do. */
  function regionTest(samples, state, name) {
    const column = state.by === "agreement" ? samples.agreement : samples.score;
    const ranged = state.from !== "" || state.to !== "";
    const low = state.from === "" ? -Infinity : Number(state.from) * 1000;
    const high = state.to === "" ? Infinity : Number(state.to) * 1000;
    const fate = regionFate(samples, state.why);
    if (!ranged && !fate && name === null) return null;
    return (region) =>
      (name === null || samples.name[region] === name) &&
      (!fate || fate(region)) &&
      (!ranged ||
        (column[region] !== UNKNOWN && column[region] >= low - 1e-6 && column[region] <= high + 1e-6));
  }

  function regionFate(samples, why) {
    if (why === "kept") return (region) => samples.refusal[region] === 0 && !samples.crowd[region];
    if (why === "crowd") return (region) => samples.crowd[region] === 1;
    if (why === "refused") return (region) => samples.refusal[region] !== 0;
    if (!why.startsWith("refused: ")) return null;
    const refusal = samples.refusals.find(why.slice("refused: ".length));
    return (region) => samples.refusal[region] === refusal;
  }

  /** A test of a sample's own fate; null where the reason asked for is a region's, or none. */
  function sampleFate(samples, why) {
    if (!why || regionFate(samples, why)) return null;
    const fits = samples.fates.texts.map(
      (text) => text === why || text.startsWith(`${why}: `) || (why === "gone" && isGone(text)),
    );
    return (number) => fits[samples.fate[number]];
  }

  const isGone = (fate) => fate.startsWith("dropped") || fate.startsWith("quarantined");

  /** Numbers of the samples that pass; `captions` in lower case are needed for a search alone. */
  function passing(samples, state, captions) {
    const source = state.source ? samples.sources.find(state.source) : null;
    const split = state.split ? samples.splits.find(state.split) : null;
    const fate = sampleFate(samples, state.why);
    const names = state.names.length ? state.names.map((one) => samples.names.find(one)) : [null];
    const tests = names.map((name) => regionTest(samples, state, name)).filter(Boolean);
    const finds = search(samples, state.q, captions);
    const found = [];
    for (let number = 0; number < samples.count; number++) {
      if (source !== null && samples.source[number] !== source) continue;
      if (split !== null && samples.split[number] !== split) continue;
      if (fate && !fate(number)) continue;
      if (!tests.every((test) => anyRegion(samples, number, test))) continue;
      if (finds.every((find) => find(number))) found.push(number);
    }
    return found;
  }

  function anyRegion(samples, number, test) {
    for (let one = samples.region[number]; one < samples.region[number + 1]; one++) {
      if (test(one)) return true;
    }
    return false;
  }

  /** A test for each word: it is in the key, in the caption or in a region's name. */
  function search(samples, text, captions) {
    return text.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
      const named = samples.names.texts.map((name) => name.toLowerCase().includes(word));
      return (number) =>
        samples.key[number].toLowerCase().includes(word) ||
        Boolean(captions?.[number]?.includes(word)) ||
        anyRegion(samples, number, (region) => named[samples.name[region]]);
    });
  }

  const ORDERS = {
    key: (samples) => (one, other) => (samples.key[one] < samples.key[other] ? -1 : 1),
    regions: (samples) => {
      const count = (one) => samples.region[one + 1] - samples.region[one];
      return (one, other) => count(other) - count(one);
    },
    caption: (samples) => (one, other) => samples.words[other] - samples.words[one],
    pixels: (samples) => {
      const area = (one) => samples.width[one] * samples.height[one];
      return (one, other) => area(other) - area(one);
    },
    "low-score": (samples) => byExtreme(samples, samples.score, 1),
    "high-score": (samples) => byExtreme(samples, samples.score, -1),
    "low-agreement": (samples) => byExtreme(samples, samples.agreement, 1),
    "high-agreement": (samples) => byExtreme(samples, samples.agreement, -1),
  };

  /** By the lowest (1) or highest (-1) number of a sample's regions; those without one come last. */
  function byExtreme(samples, column, sign) {
    const extremes = new Float64Array(samples.count).fill(Infinity);
    for (let number = 0; number < samples.count; number++) {
      for (let one = samples.region[number]; one < samples.region[number + 1]; one++) {
        if (column[one] !== UNKNOWN) extremes[number] = Math.min(extremes[number], sign * column[one]);
      }
    }
    return (one, other) => (extremes[one] === extremes[other] ? 0 : extremes[one] - extremes[other]);
  }

  function inOrder(samples, numbers, sort) {
    const order = Object.hasOwn(ORDERS, sort) ? ORDERS[sort](samples) : null;
    return order ? numbers.sort(order) : numbers; // the sort is stable
  }

  return { read, write, chosen, passing, inOrder };
})();
