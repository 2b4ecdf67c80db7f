"use strict";
// The gallery: filters, a page of cards, and one sample alone. The address behind the # holds all of
// its state; whatever is clicked changes the address, and the address changes what is shown.

(() => {
  const { make, colourOf, counted, filters } = OpenDet;
  const PER_PAGE = 60;
  const MOST_CHIPS = 3;
  const samples = new OpenDet.Samples("a");
  const seen = (id) => document.getElementById(id);
  let state = filters.read(location.hash);
  let found = []; // numbers of the samples that pass, in their order
  let shown = ""; // which filters they passed
  let ready = false;
  let round = 0; // of filtering; an older one that ends late is not shown

  // --- state

  function go(change, { replace = false } = {}) {
    state = { ...state, ...change }; // at once, for the next key may come before the address's event
    const hash = `#${filters.write(state)}`;
    if (replace) location.replace(hash);
    else location.hash = hash;
  }

  const filterBy = (change, how) => go({ page: 1, sample: "", ...change }, how);

  async function follow() {
    state = filters.read(location.hash);
    showForm();
    const wanted = `${filters.chosen(state)} ${samples.count}`;
    if (wanted !== shown) await filterNow(wanted);
    showPage();
    await showSample();
  }

  async function filterNow(wanted) {
    const mine = ++round;
    const captions = state.q ? await samples.captions(tellSearch) : null;
    if (mine !== round) return;
    found = filters.inOrder(samples, filters.passing(samples, state, captions), state.sort);
    shown = wanted;
    drawnPage = "";
  }

  const tellSearch = (read, of) => tell(`reading captions: ${counted(read)} of ${counted(of)} …`);
  const tell = (text) => (seen("count").textContent = text);

  // --- the form

  const FIELDS = ["q", "source", "split", "why", "by", "from", "to", "sort"];

  function showForm() {
    for (const name of FIELDS) {
      const field = seen(name);
      if (field !== document.activeElement || field.tagName === "SELECT") field.value = state[name] || field.dataset.none || "";
    }
    const chips = state.names.map((name) => {
      const chip = make("button", `chipped ${colourOf(name)}`, { type: "button", title: "take this name out of the filter" }, make("span", "say", {}, name), " ×");
      chip.addEventListener("click", () => filterBy({ names: state.names.filter((one) => one !== name) }));
      return chip;
    });
    seen("names").replaceChildren(...chips);
    seen("boxes").checked = state.boxes;
    seen("refused").checked = state.refused;
    seen("clear").hidden = !filters.chosen(state);
  }

  function listen() {
    let typing = 0;
    seen("filters").addEventListener("submit", (event) => event.preventDefault());
    seen("q").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => filterBy({ q: seen("q").value }, { replace: true }), 200);
    });
    for (const name of ["source", "split", "why", "by", "sort"]) {
      seen(name).addEventListener("change", () => filterBy({ [name]: seen(name).value }));
    }
    for (const name of ["from", "to"]) {
      seen(name).addEventListener("change", () => filterBy({ [name]: seen(name).value }));
    }
    seen("name").addEventListener("change", addName);
    for (const name of ["boxes", "refused"]) {
      seen(name).addEventListener("change", () => go({ [name]: seen(name).checked }, { replace: true }));
    }
    seen("clear").addEventListener("click", () => location.assign("#"));
    document.addEventListener("keydown", onKey);
    window.addEventListener("hashchange", follow);
    seen("alone").addEventListener("cancel", (event) => {
      event.preventDefault();
      go({ sample: "" });
    });
  }

  function addName() {
    const name = seen("name").value;
    seen("name").value = "";
    if (name && !state.names.includes(name)) filterBy({ names: [...state.names, name] });
  }

  function fillLists() {
    const option = (value, text = value) => make("option", "", { value }, text);
    const all = (id, words, none) => seen(id).replaceChildren(option("", none), ...words.texts.filter(Boolean).toSorted().map((one) => option(one)));
    all("source", samples.sources, "all sources");
    all("split", samples.splits, "all splits");
    const counts = new Map();
    for (const name of samples.name) counts.set(name, (counts.get(name) ?? 0) + 1);
    const common = [...counts].sort((one, other) => other[1] - one[1]).slice(0, 2000);
    seen("known-names").replaceChildren(...common.map(([name]) => option(samples.names.texts[name])));
    const group = (label, ...options) => make("optgroup", "", { label }, ...options);
    const refusals = samples.refusals.texts.slice(1).toSorted().map((one) => option(`refused: ${one}`));
    const fates = samples.fates.texts.slice(1).toSorted().map((one) => option(one));
    const groups = [option("", "whatever became of it"), group("with a region that is", option("kept"), option("crowd", "a crowd"), option("refused", "refused, for whatever reason"), ...refusals)];
    if (fates.length) groups.push(group("that are themselves", option("gone", "dropped or quarantined"), ...fates));
    seen("why").replaceChildren(...groups);
  }

  // --- a page of cards

  let drawnPage = "";

  function showPage() {
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    const page = Math.min(state.page, pages);
    const first = (page - 1) * PER_PAGE;
    const numbers = found.slice(first, first + PER_PAGE);
    const whole = found.length === samples.count ? "" : ` of ${counted(samples.count)}`;
    tell(`${counted(found.length)}${whole} sample${found.length === 1 && !whole ? "" : "s"}${ready ? "" : ", reading on …"}`);
    seen("grid").classList.toggle("without-boxes", !state.boxes);
    seen("grid").classList.toggle("without-refused", !state.refused);
    const drawing = `${shown} ${page}`;
    if (drawing === drawnPage) return;
    drawnPage = drawing;
    seen("grid").replaceChildren(...numbers.map(cardOf));
    seen("empty").hidden = found.length > 0 || !ready;
    for (const pager of document.querySelectorAll(".pager")) showPager(pager, page, pages);
  }

  function showPager(pager, page, pages) {
    pager.hidden = pages < 2;
    const turn = (text, to, label) => {
      const button = make("button", "", { type: "button", "aria-label": label }, text);
      button.disabled = to < 1 || to > pages || to === page;
      button.addEventListener("click", () => {
        go({ page: to });
        if (pager.classList.contains("below")) scrollTo(0, 0);
      });
      return button;
    };
    const field = make("input", "", { type: "number", min: "1", max: String(pages), value: String(page), "aria-label": "page" });
    field.addEventListener("change", () => go({ page: Math.min(Math.max(1, Math.floor(Number(field.value)) || 1), pages) }));
    pager.replaceChildren(
      turn("«", 1, "first page"), turn("‹", page - 1, "page before"), field,
      make("span", "soft", {}, `of ${counted(pages)}`),
      turn("›", page + 1, "next page"), turn("»", pages, "last page"),
    );
  }

  function cardOf(number) {
    const link = make("a", "tile", { href: `#${filters.write({ ...state, sample: samples.key[number] })}` });
    const frame = make("span", "picture");
    link.append(frame, make("span", "words say"), namesOf(number), make("span", "key say", {}, samples.key[number]));
    if (samples.picture[number]) {
      const [width, height] = [samples.width[number], samples.height[number]];
      const image = make("img", "", { src: samples.smallOf(number), width, height, loading: "lazy", decoding: "async", alt: `picture of ${samples.key[number]}` });
      image.addEventListener("error", () => noPicture(frame, "no picture"));
      frame.append(image);
    } else {
      noPicture(frame, samples.fates.texts[samples.fate[number]] || "no picture");
    }
    if (samples.fate[number]) link.classList.add("gone");
    samples.card(number).then(([text, boxes]) => fillCard(link, number, text, boxes), complain);
    return make("li", "", {}, link);
  }

  function noPicture(frame, why) {
    frame.classList.add("nothing");
    frame.replaceChildren(make("span", "soft", {}, why));
  }

  function fillCard(link, number, text, boxes) {
    const words = link.querySelector(".words");
    words.textContent = text || (samples.width[number] ? "no caption" : "");
    words.classList.toggle("absent", !text);
    const image = link.querySelector("img");
    if (!image) return;
    image.alt = text.slice(0, 200) || image.alt;
    image.after(OpenDet.overlayOf(samples, number, boxes));
  }

  function namesOf(number) {
    const line = make("span", "said");
    const names = new Set();
    for (let one = samples.region[number]; one < samples.region[number + 1]; one++) {
      const name = samples.names.texts[samples.name[one]];
      if (name && samples.refusal[one] === 0) names.add(name);
    }
    const wanted = [...names].sort((one, other) => state.names.includes(other) - state.names.includes(one));
    for (const name of wanted.slice(0, MOST_CHIPS)) line.append(make("span", `chipped say ${colourOf(name)}`, {}, name));
    if (wanted.length > MOST_CHIPS) line.append(make("span", "soft small", {}, `+${wanted.length - MOST_CHIPS}`));
    return line;
  }

  // --- one sample alone

  let alone = ""; // the key of the sample in the dialog

  async function showSample() {
    const dialog = seen("alone");
    const key = state.sample;
    if (!key || !samples.count) {
      alone = "";
      if (dialog.open) dialog.close();
      return;
    }
    if (key === alone) return showSteps();
    const number = samples.numberOf(key);
    if (number < 0) {
      if (ready) tell(`no sample has the key ${key}`);
      return;
    }
    alone = key;
    try {
      const detail = await samples.detail(number);
      if (alone !== key) return;
      seen("panel").replaceChildren(OpenDet.panel.panelOf(detail));
    } catch (error) {
      complain(error);
    }
    showSteps();
    if (!dialog.open) {
      dialog.showModal();
      dialog.focus();
    }
    dialog.scrollTop = 0;
  }

  function step(by) {
    const place = found.indexOf(samples.numberOf(state.sample)) + by;
    if (place - by < 0 || place < 0 || place >= found.length) return;
    go({ sample: samples.key[found[place]], page: Math.floor(place / PER_PAGE) + 1 }, { replace: true });
  }

  function showSteps() {
    const place = found.indexOf(samples.numberOf(state.sample));
    seen("before").disabled = place < 1;
    seen("after").disabled = place < 0 || place >= found.length - 1;
    seen("where").textContent = place < 0 ? "not among the samples that are filtered" : `${counted(place + 1)} of ${counted(found.length)}`;
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest?.("input, select, textarea");
    if (!typing && event.key === "/" && !state.sample) {
      event.preventDefault();
      seen("q").focus();
    }
    if (typing) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const by = event.key === "ArrowLeft" ? -1 : 1;
      if (state.sample) step(by);
      else seen("pages").querySelectorAll("button")[by < 0 ? 1 : 2]?.click();
    } else if (state.sample) {
      seen("alone").querySelector(`[data-letter="${CSS.escape(event.key)}"]`)?.click();
    }
  }

  function complain(error) {
    seen("trouble").hidden = false;
    seen("trouble").textContent = error.message;
  }

  async function begin() {
    listen();
    seen("before").addEventListener("click", () => step(-1));
    seen("after").addEventListener("click", () => step(1));
    seen("close").addEventListener("click", () => go({ sample: "" }));
    seen("tools").append(OpenDet.panel.toggles(seen("alone"), OpenDet.panel.TOGGLES));
    if (matchMedia("(min-width: 800px)").matches) seen("more").open = true;
    let last = 0;
    const onPiece = (read, of) => {
      const now = performance.now();
      if (read === of || (now - last < 400 && read > 1)) return;
      last = now;
      fillLists();
      follow();
    };
    try {
      await samples.open(onPiece);
    } catch (error) {
      complain(error);
    }
    ready = true;
    fillLists();
    drawnPage = "";
    shown = "";
    await follow();
    document.body.dataset.ready = "yes";
  }

  begin();
})();
