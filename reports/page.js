"use strict";
/* What the parts of a report share. A part's script calls report.part(name, draw); report.open() draws them all. */
const report = {
  parts: new Map(),
  redraws: [], // called when the width, the colours or the medium change

  part(name, draw) { this.parts.set(name, draw); },

  /* --- numbers and words --- */
  number: (value) => (value === null ? NaN : Number(value)), // infinities travel as strings
  count: (value) => value.toLocaleString("en-US"),
  terms: (text) => text.toLowerCase().split(/\s+/).filter(Boolean),
  /* A number as evalkit writes it everywhere: four significant digits, ties to even. */
  text(value) {
    if (value === null || Number.isNaN(Number(value))) return "-";
    const size = Math.abs(Number(value)), sign = Number(value) < 0 ? "-" : "";
    if (size === Infinity) return `${sign}inf`;
    const even = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
    if (size >= 1000 || (Number.isInteger(size) && size >= 10)) return `${sign}${even(size).toLocaleString("en-US")}`;
    if (size < 0.001 && size > 0) return `${sign}${size.toExponential(2).replace(/e([+-])(\d)$/, "e$10$2")}`;
    return `${sign}${Number.isInteger(size * 32) ? (even(size * 1e4) / 1e4).toFixed(4) : size.toFixed(4)}`;
  },
  /* An amount as evalkit writes it: two decimals, none from 10,000 on. */
  amount(value, currency = "") {
    if (value === null || Number.isNaN(Number(value))) return "-";
    const size = Math.abs(Number(value)), digits = size < 10000 ? 2 : 0;
    const text = size.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return `${Number(value) < 0 ? "-" : ""}${currency}${currency ? " " : ""}${text}`;
  },
  written(value, unit = "") { return unit ? this.amount(value) : this.text(value); },
  signed(value, unit = "") {
    const text = this.written(value, unit);
    return Number(value) > 0 ? `+${text}` : value !== null && Number(value) === 0 ? "0" : text;
  },
  interval(low, high, write = (value) => this.text(value)) { return low === null ? "" : `[${write(low)}, ${write(high)}]`; },
  shorten: (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text),
  /* Plotly reads a little HTML in labels: what users wrote must not be taken for it. */
  escape: (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"),

  /* --- looks: from the style sheet, so that there is one place for colours --- */
  symbols: [
    { glyph: "●", plotly: "circle" }, { glyph: "■", plotly: "square" }, { glyph: "◆", plotly: "diamond" },
    { glyph: "▲", plotly: "triangle-up" }, { glyph: "▼", plotly: "triangle-down" },
  ],
  precise: matchMedia("(pointer: fine)").matches,
  look() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(`--${name}`).trim();
    return {
      ink: read("ink"), muted: read("muted"), bad: read("bad"), good: read("good"), grid: read("grid"), panel: read("panel"), font: read("font"),
      series: [...Array(8).keys()].map((number) => read(`series-${number}`)),
    };
  },
  axis() {
    const look = this.look();
    return { gridcolor: look.grid, zeroline: false, linecolor: look.grid, tickfont: { size: 12 }, ticks: "" };
  },
  /* --- forest plots: rows { slice } and { heading } from top to bottom --- */
  forest: {
    longest: 46, // characters of a label; pointing at a mark shows the rest

    /* Overall, then each slice set under its name; chosen is "all" or a set's number; order sorts slices by a number. */
    rows(groups, chosen, has, order = null) {
      const rows = has("overall") ? [{ slice: "overall" }] : [];
      groups.forEach((group, number) => {
        if (chosen !== "all" && chosen !== String(number)) return;
        const slices = group.slices.filter(has);
        if (!slices.length) return;
        if (order) slices.sort((a, b) => (order(a) === order(b) ? 0 : order(b) - order(a)));
        rows.push({ heading: group.name }, ...slices.map((slice) => ({ slice })));
      });
      rows.forEach((row, number) => { row.y = -number; });
      return rows;
    },
    /* The range of an axis that holds these numbers with some room. */
    range(ends) {
      const finite = ends.filter(Number.isFinite);
      if (!finite.length) return [0, 1];
      const low = finite.reduce((a, b) => Math.min(a, b)), high = finite.reduce((a, b) => Math.max(a, b));
      const margin = (high - low || Math.abs(high) || 1) * 0.05;
      return [low - margin, high + margin];
    },
    /* Words are traces on an axis of their own: as tick labels or annotations, 500 of them take half a minute. */
    words(rows, status, { range, narrow, step }) {
      const names = { x: [], y: [], text: [] };
      const states = { x: [], y: [], text: [] };
      rows.forEach((row) => {
        const label = report.escape(report.shorten(row.heading || row.slice, this.longest));
        names.x.push(narrow ? 0 : 1);
        names.y.push(row.y + (narrow && row.slice ? 9 / step : 0));
        names.text.push(row.heading ? `<b>${label}</b>` : label);
        const text = row.slice ? status(row) : "";
        if (!text) return;
        states.x.push(range[0] + (range[1] - range[0]) * 0.01);
        states.y.push(row.y - (narrow ? 8 / step : 0));
        states.text.push(`<i>${report.escape(report.shorten(text, 60))}</i>`);
      });
      const words = { mode: "text", type: "scatter", hoverinfo: "skip", cliponaxis: false };
      return [
        { ...words, ...names, xaxis: "x2", textposition: narrow ? "middle right" : "middle left", textfont: { size: 12.5 } },
        { ...words, ...states, textposition: "middle right", textfont: { size: 11.5, color: report.look().muted } },
      ];
    },
    rules: (rows) => rows.filter((row) => row.heading).map((row) => ({
      type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: row.y + 0.5, y1: row.y + 0.5,
      layer: "below", line: { color: report.look().grid, width: 1 },
    })),
    widest(rows) {
      const pen = document.createElement("canvas").getContext("2d");
      pen.font = `bold 12.5px ${report.look().font}`;
      return Math.max(...rows.map((row) => pen.measureText(report.shorten(row.heading || row.slice, this.longest)).width));
    },
    layout(target, rows, shapes, { range, narrow, step }) {
      const axis = report.axis();
      const left = narrow ? 0 : Math.min((this.widest(rows) + 14) / (target.clientWidth - 16), 0.45);
      return {
        height: rows.length * step + 42,
        margin: { l: 4, r: 12, t: 34, b: 8 },
        shapes,
        xaxis: { ...axis, range, domain: [left, 1], side: "top", nticks: narrow ? 5 : 9, fixedrange: true },
        xaxis2: { ...axis, range: [0, 1], domain: narrow ? [0, 1] : [0, Math.max(left - 0.008, 0)], visible: false, fixedrange: true },
        yaxis: { ...axis, showgrid: false, range: [-rows.length + 0.5, 0.5], showticklabels: false, showline: false, fixedrange: true },
      };
    },
  },
  draw(Plotly, target, traces, layout) {
    const look = this.look();
    const label = { bgcolor: look.panel, bordercolor: look.grid, align: "left", font: { color: look.ink, family: look.font, size: 12 } };
    return Plotly.react(target, traces, {
      width: target.clientWidth, showlegend: false, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
      font: { color: look.ink, family: look.font, size: 12 }, hoverlabel: label, dragmode: this.precise ? "zoom" : false,
      ...layout,
    }, { displaylogo: false, displayModeBar: this.precise ? "hover" : false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
  },

  /* A table of places (numbers of rows of data): sorted by a click on a column's name, and as many as are asked for.
     columns: name to { text: place to words, key: place to what it is sorted by, look: place to the class of a badge,
     small: place to words below }; missing numbers stay at the end. */
  grid(block, columns, { size = 150, total = 0, noun = "results", mark = () => "" } = {}) {
    const headers = [...block.querySelectorAll("th[data-column]")];
    const body = block.querySelector("tbody");
    const collator = new Intl.Collator("en", { numeric: true });
    const state = { column: null, down: false, shown: size, places: [] };

    function sorted() {
      if (state.column === null) return state.places;
      const sign = state.down ? -1 : 1;
      const { text, key = text } = columns[state.column];
      const values = new Map(state.places.map((place) => [place, key(place)]));
      const words = [...new Set([...values.values()].filter((value) => typeof value === "string"))].sort(collator.compare);
      const ranks = new Map(words.map((word, rank) => [word, rank]));
      const rank = (place) => { const value = values.get(place); return typeof value === "string" ? ranks.get(value) : value; };
      return [...state.places].sort((a, b) => {
        const [x, y] = [rank(a), rank(b)];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return x === y ? 0 : sign * (x < y ? -1 : 1);
      });
    }

    function line(place) {
      const row = document.createElement("tr");
      row.className = mark(place);
      headers.forEach((header) => {
        const { column, head, style } = header.dataset;
        const cell = document.createElement(head === undefined ? "td" : "th");
        if (head !== undefined) cell.scope = "row";
        cell.className = style || header.className;
        const { text, look, small } = columns[column];
        const words = text(place);
        if (look && look(place)) {
          const badge = document.createElement("span");
          badge.className = look(place);
          badge.textContent = words;
          cell.append(badge);
        } else cell.textContent = words;
        const below = small ? small(place) : "";
        if (below) {
          const line = document.createElement("span");
          line.className = "small";
          line.textContent = below;
          cell.append(line);
        }
        row.append(cell);
      });
      return row;
    }

    function draw() {
      const shown = sorted().slice(0, state.shown);
      const { length } = state.places;
      body.replaceChildren(...shown.map(line));
      block.querySelector("[data-count]").textContent = length
        ? `${report.count(shown.length)} of ${report.count(length)} ${noun} shown${length < total ? `, of ${report.count(total)} in all` : ""}.`
        : "No result matches.";
      block.querySelector(".more").hidden = shown.length === length;
      headers.forEach((header) => {
        const direction = header.dataset.column !== state.column ? "none" : state.down ? "descending" : "ascending";
        header.setAttribute("aria-sort", direction);
      });
    }

    headers.forEach((header) => header.querySelector("button").addEventListener("click", () => {
      const { column } = header.dataset;
      state.down = state.column === column && !state.down;
      state.column = column;
      draw();
    }));
    block.querySelector("[data-more]").addEventListener("click", () => { state.shown += size; draw(); });
    block.querySelector("[data-everything]").addEventListener("click", () => { state.shown = Infinity; draw(); });
    return {
      show(places) { Object.assign(state, { places, shown: size }); draw(); },
      unsort() { state.column = null; },
    };
  },

  /* --- opening --- */
  async inflate(id) {
    const packed = atob(document.getElementById(id).textContent.trim());
    const bytes = new Uint8Array(packed.length);
    for (let place = 0; place < packed.length; place += 1) bytes[place] = packed.charCodeAt(place);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  },
  plotly() {
    this.loading = this.loading || this.inflate("packed-plotly").then((text) => {
      const script = document.createElement("script");
      script.textContent = text;
      document.head.append(script);
      script.remove();
      if (!window.Plotly) throw new Error("Plotly did not start.");
      return window.Plotly;
    });
    return this.loading;
  },
  fail(message) {
    const place = document.getElementById("problem");
    place.hidden = false;
    place.textContent = [place.textContent, message].filter(Boolean).join(" ");
    document.documentElement.dataset.state = "failed";
  },
  async open() {
    if (typeof DecompressionStream === "undefined") {
      this.fail("The plots and the table of all results need a newer browser: Chrome or Edge 92, Firefox 113, Safari 16.4.");
      return;
    }
    try {
      const data = JSON.parse(await this.inflate("packed-data"));
      await Promise.all([...this.parts].map(([name, draw]) => (
        draw(document.getElementById(name), data.parts[name], data.cells)
          .catch((error) => this.fail(`Part of this page could not be drawn (${name}: ${error.message}).`))
      )));
    } catch (error) {
      this.fail(`This page could not be opened (${error.message}).`);
    }
    document.documentElement.dataset.state = document.documentElement.dataset.state || "ready";
    this.watch();
  },
  watch() {
    const redraw = () => this.redraws.forEach((draw) => draw());
    const main = document.querySelector("main");
    let width = main.clientWidth;
    let waiting;
    new ResizeObserver(() => {
      if (main.clientWidth === width) return;
      width = main.clientWidth;
      clearTimeout(waiting);
      waiting = setTimeout(redraw, 120);
    }).observe(main);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    const printing = (on) => { document.documentElement.classList.toggle("printing", on); redraw(); };
    addEventListener("beforeprint", () => printing(true));
    addEventListener("afterprint", () => printing(false));
  },
};
addEventListener("error", (event) => report.fail(`A script failed (${event.message}).`));
addEventListener("unhandledrejection", (event) => report.fail(`A script failed (${event.reason}).`));
