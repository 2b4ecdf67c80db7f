"use strict";
// What the pages know: the columns of all pieces, and the files that hold the rest, read when they
// are needed. A data file is a script that hands one value to `OpenDet.take`; a page of `file:` may
// read in no other way. Texts of the data become text nodes, never markup.

const OpenDet = (() => {
  const UNKNOWN = -100000; // a score or an agreement that a region does not have
  const CARDS = 256; // samples in a file of cards
  const AT_ONCE = 6; // files that are read side by side

  const asked = new Map(); // path -> {promise, resolve, reject}
  const DATA = /^data\/(?:[ab]\/(?:collection|\d{4,}\/(?:index|cards-\d+|details-\d+))|comparison)\.js$/;
  const rules = {
    createScriptURL(path) {
      if (!DATA.test(path)) throw new TypeError(`${path} is no data of these pages`);
      return path;
    },
  };
  const policy = window.trustedTypes ? window.trustedTypes.createPolicy("open-det", rules) : rules;

  /** The value in a data file; read once. */
  function load(path) {
    const known = asked.get(path);
    if (known) return known.promise;
    const address = policy.createScriptURL(path);
    const waiting = {};
    waiting.promise = new Promise((resolve, reject) => Object.assign(waiting, { resolve, reject }));
    asked.set(path, waiting);
    const script = document.createElement("script");
    script.src = address;
    script.addEventListener("load", () => script.remove());
    script.addEventListener("error", () => {
      asked.delete(path); // so that it can be asked for again
      script.remove();
      waiting.reject(new Error(`${path} cannot be read`));
    });
    document.head.append(script);
    return waiting.promise;
  }

  function take(path, value) {
    asked.get(path)?.resolve(value);
  }

  /** An element with a class, attributes by name, and children that are elements or texts. */
  function make(tag, className = "", attributes = {}, ...children) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function draw(tag, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  const colours = new Map(); // name -> its place among those that were met

  /** One of twelve colours; names that are met one after the other have different ones. */
  function colourOf(name) {
    if (!colours.has(name)) colours.set(name, colours.size % 12);
    return `n${colours.get(name)}`;
  }

  const counted = (number) => number.toLocaleString("en").replaceAll(",", "\u202f");

  /** Texts by number, as the columns name them. */
  class Words {
    texts = [];
    #numbers = new Map();
    number(text) {
      let number = this.#numbers.get(text);
      if (number === undefined) {
        number = this.texts.push(text) - 1;
        this.#numbers.set(text, number);
      }
      return number;
    }
    /** -1 for a text that is not among them. */
    find(text) {
      return this.#numbers.get(text) ?? -1;
    }
  }

  /** The samples of one collection, by number in the order of its pieces. */
  class Samples {
    sources = new Words();
    splits = new Words();
    names = new Words();
    refusals = new Words();
    fates = new Words();
    about = null;
    key = [];
    source = [];
    split = [];
    fate = [];
    width = [];
    height = [];
    words = [];
    picture = [];
    region = [0]; // where the regions of a sample begin; one more than there are samples
    name = [];
    score = [];
    agreement = [];
    refusal = [];
    crowd = [];
    #details = [];
    #begins = []; // the first sample of each piece

    constructor(side) {
      this.side = side;
      this.refusals.number("");
      this.fates.number("");
    }

    get count() {
      return this.key.length;
    }

    /** Read all columns; `tell(read, of)` is called as they come in, in their order. */
    async open(tell = () => {}) {
      this.about = await load(`data/${this.side}/collection.js`);
      const pieces = this.about.pieces;
      const ask = (piece) => load(`${this.#folder(piece)}/index.js`);
      const coming = [];
      for (let piece = 0; piece < pieces; piece++) {
        while (coming.length < AT_ONCE && piece + coming.length < pieces) {
          const next = ask(piece + coming.length);
          next.catch(() => {}); // told where it is waited for
          coming.push(next);
        }
        this.#add(await coming.shift());
        tell(piece + 1, pieces);
      }
    }

    numberOf(key) {
      return this.key.indexOf(key);
    }

    /** [caption, boxes] of a sample; of one that left its flow [why, []]. */
    async card(number) {
      const [piece, place] = this.#placeOf(number);
      const cards = await load(`${this.#folder(piece)}/cards-${Math.floor(place / CARDS)}.js`);
      return cards[place % CARDS];
    }

    /** All that is known of a sample. */
    async detail(number) {
      const [piece, place] = this.#placeOf(number);
      const file = this.#details[number];
      let first = place;
      while (first > 0 && this.#details[number - place + first - 1] === file) first--;
      const details = await load(`${this.#folder(piece)}/details-${file}.js`);
      return details[place - first];
    }

    at(piece, place) {
      return this.#begins[piece] + place;
    }

    /** Where a sample's small picture lies; the served pages and the static ones agree on it. */
    smallOf(number) {
      const [piece, place] = this.#placeOf(number);
      const folder = `pictures/${this.side}/${String(piece).padStart(4, "0")}`;
      return `${folder}/${Math.floor(place / 1000)}/${place}-small.jpg`;
    }

    /** All captions in lower case, for a search. */
    async captions(tell = () => {}) {
      if (!this.lower) {
        const found = new Array(this.count);
        for (let number = 0; number < this.count; number += 1) {
          if (!this.#placeOf(number)[1]) tell(number, this.count);
          found[number] = (await this.#cardNow(number))[0].toLowerCase();
        }
        this.lower = found;
      }
      return this.lower;
    }

    #ahead = null; // the file of cards that was read last, by its path
    async #cardNow(number) {
      const [piece, place] = this.#placeOf(number);
      const path = `${this.#folder(piece)}/cards-${Math.floor(place / CARDS)}.js`;
      if (this.#ahead?.path !== path) this.#ahead = { path, cards: await load(path) };
      return this.#ahead.cards[place % CARDS];
    }

    #folder(piece) {
      return `data/${this.side}/${String(piece).padStart(4, "0")}`;
    }

    #placeOf(number) {
      let low = 0;
      let high = this.#begins.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (this.#begins[middle] <= number) low = middle;
        else high = middle - 1;
      }
      return [low, number - this.#begins[low]];
    }

    #add(index) {
      index.names.forEach(colourOf); // in the collection's order, whatever is looked at first
      this.#begins.push(this.count);
      const own = (kind) => index[kind].map((text) => this[kind].number(text));
      const [key, source, split, fate, width, height, words, regions, picture, details] = index.samples;
      const [name, score, agreement, refusal, crowd] = index.regions;
      append(this.key, key);
      append(this.source, source, own("sources"));
      append(this.split, split, own("splits"));
      append(this.fate, fate, own("fates"));
      append(this.width, width);
      append(this.height, height);
      append(this.words, words);
      append(this.picture, picture);
      append(this.#details, details);
      for (const count of regions) this.region.push(this.region.at(-1) + count);
      append(this.name, name, own("names"));
      append(this.score, score);
      append(this.agreement, agreement);
      append(this.refusal, refusal, own("refusals"));
      append(this.crowd, crowd);
    }
  }

  function append(column, values, numbers = null) {
    if (numbers) for (const value of values) column.push(numbers[value]);
    else for (const value of values) column.push(value);
  }

  // The way to the content is an address behind the #, where these pages have their state.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  });

  return { UNKNOWN, load, take, make, draw, colourOf, counted, Samples };
})();
