/* A forest plot: a row for each slice, a mark and an interval for each model, overall as a dotted line. */
report.part("forest", async (section, data, cells) => {
  const Plotly = await report.plotly();
  const form = section.querySelector("form");
  const target = section.querySelector("[data-plot]");
  const caption = section.querySelector("[data-caption]");
  const symbols = report.symbols;
  const longest = 46; // characters of a label; pointing at a mark shows the rest

  section.querySelectorAll("[data-series]").forEach((key) => {
    key.textContent = symbols[key.dataset.series % symbols.length].glyph;
  });

  /* The places in the table of one metric: slice name to model to place. */
  function placesOf(metric) {
    const found = new Map();
    const wanted = cells.names.metric.indexOf(metric);
    cells.metric.forEach((number, place) => {
      if (number !== wanted) return;
      const slice = cells.names.slice[cells.slice[place]];
      if (!found.has(slice)) found.set(slice, new Map());
      const models = found.get(slice);
      if (!models.has(cells.model[place])) models.set(cells.model[place], place);
    });
    return found;
  }

  /* Infinities cannot be drawn: such values are written in words, such ends stop at the edge. */
  const drawable = (place) => {
    const state = cells.names.state[cells.state[place]];
    return (state === "ok" || state === "approximate") && Number.isFinite(report.number(cells.value[place]));
  };

  function chosenModels() {
    const boxes = [...form.querySelectorAll('[name="model"]')];
    return boxes.length ? boxes.filter((box) => box.checked).map((box) => Number(box.value)) : [0];
  }

  /* Rows from top to bottom: overall, then each slice set under its name. */
  function rowsOf(places, models) {
    const chosen = form.elements.group ? form.elements.group.value : "all";
    const byValue = form.elements.order && form.elements.order.value === "value";
    const key = (slice) => {
      const found = models.map((model) => places.get(slice).get(model)).find((place) => place !== undefined && drawable(place));
      return found === undefined ? -Infinity : report.number(cells.value[found]);
    };
    const rows = places.has("overall") ? [{ slice: "overall" }] : [];
    data.groups.forEach((group, number) => {
      if (chosen !== "all" && chosen !== String(number)) return;
      const slices = group.slices.filter((slice) => places.has(slice));
      if (!slices.length) return;
      if (byValue) slices.sort((a, b) => (key(a) === key(b) ? 0 : key(b) - key(a)));
      rows.push({ heading: group.name }, ...slices.map((slice) => ({ slice })));
    });
    return rows;
  }

  function describe(place, slice, metric) {
    const model = cells.names.model[cells.model[place]];
    const state = cells.names.state[cells.state[place]];
    const lines = [`<b>${report.escape(slice)}</b>`, report.escape(`${model}: ${metric}`)];
    if (cells.value[place] !== null) lines.push(`${cells.text[place]} ${cells.interval[place]}`);
    if (cells.value[place] !== null && !cells.interval[place]) lines.push("no interval");
    if (cells.rows[place] !== null) lines.push(`${report.count(cells.rows[place])} rows`);
    const remark = [state === "ok" ? "" : state, cells.names.note[cells.note[place]]].filter(Boolean).join(": ");
    if (remark) lines.push(report.escape(report.shorten(remark, 80)));
    return lines.join("<br>");
  }

  /* What stands in a row instead of marks: the status, once where models agree. */
  function statusText(row, places, models) {
    const words = new Map();
    models.forEach((model) => {
      const place = places.get(row.slice).get(model);
      if (place === undefined || drawable(place)) return;
      const state = cells.names.state[cells.state[place]];
      words.set(model, state === "ok" || state === "approximate" ? `value is ${cells.text[place]}` : state);
    });
    const kinds = new Set(words.values());
    if (!words.size) return "";
    if (kinds.size === 1 && words.size === models.length) return [...kinds][0];
    return [...words].map(([model, word]) => `${cells.names.model[model]}: ${word}`).join(", ");
  }

  function rangeOf(rows, places, models) {
    const ends = [];
    rows.forEach((row) => row.slice && models.forEach((model) => {
      const place = places.get(row.slice).get(model);
      if (place === undefined || !drawable(place)) return;
      ends.push(...[cells.value[place], cells.low[place], cells.high[place]].map(report.number).filter(Number.isFinite));
    }));
    if (!ends.length) return [0, 1];
    const low = ends.reduce((a, b) => Math.min(a, b)), high = ends.reduce((a, b) => Math.max(a, b));
    const margin = (high - low || Math.abs(high) || 1) * 0.05;
    return [low - margin, high + margin];
  }

  function widest(rows) {
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `bold 12.5px ${report.look().font}`;
    return Math.max(...rows.map((row) => pen.measureText(report.shorten(row.heading || row.slice, longest)).width));
  }

  function draw() {
    const metric = form.elements.metric.value;
    const models = chosenModels();
    const places = placesOf(metric);
    const rows = rowsOf(places, models);
    const look = report.look();
    const narrow = target.clientWidth < 640;
    const step = Math.max(narrow ? 38 : 24, 11 * models.length + (narrow ? 24 : 10));
    const range = rangeOf(rows, places, models);
    const traces = [], shapes = [];
    rows.forEach((row, number) => { row.y = -number; });

    models.forEach((model, order) => {
      const color = look.series[model % look.series.length];
      const offset = (order - (models.length - 1) / 2) * (11 / step) + (narrow ? 9 / step : 0);
      const line = { x: [], y: [] };
      const mark = { x: [], y: [], text: [], symbol: [] };
      const symbol = symbols[model % symbols.length].plotly;
      rows.forEach((row) => {
        const place = row.slice && places.get(row.slice).get(model);
        if (typeof place !== "number" || !drawable(place)) return;
        const low = report.number(cells.low[place]), high = report.number(cells.high[place]);
        if (!Number.isNaN(low)) {
          line.x.push(Math.max(low, range[0]), Math.min(high, range[1]), null);
          line.y.push(row.y - offset, row.y - offset, null);
        }
        mark.x.push(report.number(cells.value[place]));
        mark.y.push(row.y - offset);
        mark.text.push(describe(place, row.slice, metric));
        mark.symbol.push(cells.names.state[cells.state[place]] === "approximate" ? `${symbol}-open` : symbol);
        if (row.slice === "overall") {
          shapes.push({
            type: "line", xref: "x", yref: "paper", x0: mark.x.at(-1), x1: mark.x.at(-1), y0: 0, y1: 1,
            layer: "below", line: { color, width: 1.2, dash: "dot" },
          });
        }
      });
      traces.push({ ...line, mode: "lines", type: "scatter", hoverinfo: "skip", line: { color, width: 2 } });
      traces.push({
        x: mark.x, y: mark.y, hovertext: mark.text, hoverinfo: "text", mode: "markers", type: "scatter",
        name: report.escape(cells.names.model[model]),
        marker: { color, size: 8, symbol: mark.symbol, line: { width: 1.6, color } },
      });
    });

    /* Words are traces on an axis of their own: as tick labels or annotations, 500 of them take half a minute. */
    const names = { x: [], y: [], text: [] };
    const states = { x: [], y: [], text: [] };
    rows.forEach((row) => {
      const label = report.escape(report.shorten(row.heading || row.slice, longest));
      names.x.push(narrow ? 0 : 1);
      names.y.push(row.y + (narrow && row.slice ? 9 / step : 0));
      names.text.push(row.heading ? `<b>${label}</b>` : label);
      const status = row.slice ? statusText(row, places, models) : "";
      if (status) {
        states.x.push(range[0] + (range[1] - range[0]) * 0.01);
        states.y.push(row.y - (narrow ? 8 / step : 0));
        states.text.push(`<i>${report.escape(report.shorten(status, 60))}</i>`);
      }
      if (row.heading) {
        shapes.push({
          type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: row.y + 0.5, y1: row.y + 0.5,
          layer: "below", line: { color: look.grid, width: 1 },
        });
      }
    });
    const words = { mode: "text", type: "scatter", hoverinfo: "skip", cliponaxis: false };
    traces.push({ ...words, ...names, xaxis: "x2", textposition: narrow ? "middle right" : "middle left", textfont: { size: 12.5 } });
    traces.push({ ...words, ...states, textposition: "middle right", textfont: { size: 11.5, color: look.muted } });

    const direction = data.directions[metric];
    caption.textContent = [
      `${metric}${direction ? ` (${direction})` : ""}.`,
      "Marks are values, bars their intervals, dotted lines the overall value;",
      "open marks are approximate. Point at a mark for its numbers.",
    ].join(" ");
    target.setAttribute("aria-label", `Forest plot of ${metric}; the table of all results holds the same numbers.`);
    const axis = report.axis();
    const left = narrow ? 0 : Math.min((widest(rows) + 14) / (target.clientWidth - 16), 0.45);
    return report.draw(Plotly, target, traces, {
      height: rows.length * step + 42,
      margin: { l: 4, r: 12, t: 34, b: 8 },
      shapes,
      xaxis: { ...axis, range, domain: [left, 1], side: "top", nticks: narrow ? 5 : 9, fixedrange: true },
      xaxis2: { ...axis, range: [0, 1], domain: narrow ? [0, 1] : [0, Math.max(left - 0.008, 0)], visible: false, fixedrange: true },
      yaxis: { ...axis, showgrid: false, range: [-rows.length + 0.5, 0.5], showticklabels: false, showline: false, fixedrange: true },
    });
  }

  form.addEventListener("change", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  report.redraws.push(draw);
  await draw();
});
