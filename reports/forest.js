/* A forest plot: a row for each slice, a mark and an interval for each model, overall as a dotted line. */
report.part("forest", async (section, data, cells) => {
  const Plotly = await report.plotly();
  const form = section.querySelector("form");
  const target = section.querySelector("[data-plot]");
  const caption = section.querySelector("[data-caption]");
  const symbols = report.symbols;

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

  function rowsOf(places, models) {
    const chosen = form.elements.group ? form.elements.group.value : "all";
    const byValue = form.elements.order && form.elements.order.value === "value";
    const key = (slice) => {
      const found = models.map((model) => places.get(slice).get(model)).find((place) => place !== undefined && drawable(place));
      return found === undefined ? -Infinity : report.number(cells.value[found]);
    };
    return report.forest.rows(data.groups, chosen, (slice) => places.has(slice), byValue ? key : null);
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
      ends.push(...[cells.value[place], cells.low[place], cells.high[place]].map(report.number));
    }));
    return report.forest.range(ends);
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
    const frame = { range, narrow, step };
    const traces = [], shapes = report.forest.rules(rows);

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

    traces.push(...report.forest.words(rows, (row) => statusText(row, places, models), frame));

    const direction = data.directions[metric];
    const unit = cells.units[cells.names.metric.indexOf(metric)];
    caption.textContent = [
      `${metric}${direction ? ` (${direction})` : ""}${unit ? `, in ${unit}` : ""}.`,
      "Marks are values, bars their intervals, dotted lines the overall value;",
      "open marks are approximate. Point at a mark for its numbers.",
    ].join(" ");
    target.setAttribute("aria-label", `Forest plot of ${metric}; the table of all results holds the same numbers.`);
    return report.draw(Plotly, target, traces, report.forest.layout(target, rows, shapes, frame));
  }

  form.addEventListener("change", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  report.redraws.push(draw);
  await draw();
});
