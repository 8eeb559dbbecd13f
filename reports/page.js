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
      ink: read("ink"), muted: read("muted"), grid: read("grid"), panel: read("panel"), font: read("font"),
      series: [...Array(8).keys()].map((number) => read(`series-${number}`)),
    };
  },
  axis() {
    const look = this.look();
    return { gridcolor: look.grid, zeroline: false, linecolor: look.grid, tickfont: { size: 12 }, ticks: "" };
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
