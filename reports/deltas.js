/* Deltas by slice: a mark and its interval, the shrunk delta under it; coloured only where q is small. */
report.part("deltas", async (section, data) => {
  const Plotly = await report.plotly();
  const form = section.querySelector("form");
  const target = section.querySelector("[data-plot]");
  const { cells } = data;
  const field = (name) => (form.elements[name] ? form.elements[name].value : null);
  const value = (column, place) => report.number(cells[column][place]);
  const name = (column, place) => cells.names[column][cells[column][place]];

  const chosen = () => ({ metric: form.elements.metric.value, model: field("model") || cells.names.model[0] });

  /* The places of the chosen metric and candidate by slice. */
  function placesOf({ metric, model }) {
    const codes = [cells.names.metric.indexOf(metric), cells.names.model.indexOf(model)];
    const found = new Map();
    cells.slice.forEach((slice, place) => {
      if (cells.metric[place] === codes[0] && cells.model[place] === codes[1]) found.set(cells.names.slice[slice], place);
    });
    return found;
  }

  /* better, worse, or nothing where chance explains it or the metric has no direction. */
  function kindOf(place, metric) {
    const { better } = data.metrics[metric];
    const delta = value("delta", place);
    if (!better || !(value("q_value", place) < data.significant) || delta === 0) return "";
    return (delta > 0) === (better === "higher") ? "better" : "worse";
  }

  const tested = (place) => Number.isFinite(value("delta_low", place)) || Number.isFinite(value("p_value", place));
  const drawable = (place) => place !== undefined && Number.isFinite(value("delta", place));

  /* Where the margin lies on the axis of deltas; relative ones differ by slice. */
  function marginOf(place, metric) {
    const { margin, better } = data.metrics[metric];
    if (margin === null || !better) return NaN;
    const size = data.relative ? margin * Math.abs(value("baseline", place)) : margin;
    return better === "higher" ? -size : size;
  }

  const ends = (place, unit) => report.interval(cells.delta_low[place], cells.delta_high[place], (value) => report.signed(value, unit));

  function describe(place, metric) {
    const { unit } = data.metrics[metric];
    const signed = (column) => report.signed(cells[column][place], unit);
    const [before, after] = ["baseline", "candidate"].map((column) => report.written(cells[column][place], unit));
    const lines = [
      `<b>${report.escape(name("slice", place))}</b>`,
      report.escape(`${metric}: ${before} → ${after}${unit && ` ${unit}`}`),
      `delta ${signed("delta")} ${ends(place, unit)}`,
    ];
    if (cells.delta_shrunk[place] !== null) lines.push(`shrunk ${signed("delta_shrunk")}`);
    if (cells.q_value[place] !== null) lines.push(`p ${report.text(cells.p_value[place])}, q ${report.text(cells.q_value[place])}`);
    lines.push(`${report.count(cells.rows[place])} rows`);
    if (name("note", place)) lines.push(report.escape(report.shorten(name("note", place), 80)));
    return lines.join("<br>");
  }

  function draw() {
    const { metric, model } = chosen();
    const places = placesOf({ metric, model });
    const byValue = field("order") === "value";
    const order = (slice) => { const shrunk = value("delta_shrunk", places.get(slice)); return Number.isNaN(shrunk) ? -Infinity : shrunk; };
    const rows = report.forest.rows(data.groups, field("group") || "all", (slice) => places.has(slice), byValue ? order : null);
    const look = report.look();
    const colors = { better: look.good, worse: look.bad, "": look.muted };
    const symbols = { better: "triangle-up", worse: "triangle-down", "": "circle" };
    const narrow = target.clientWidth < 640;
    const step = narrow ? 46 : 28;
    const drawn = rows.filter((row) => row.slice && drawable(places.get(row.slice)));
    const ends = drawn.flatMap((row) => (
      ["delta", "delta_low", "delta_high", "delta_shrunk"].map((column) => value(column, places.get(row.slice)))
    ));
    const range = report.forest.range([0, ...ends, ...drawn.map((row) => marginOf(places.get(row.slice), metric))]);
    const frame = { range, narrow, step };
    const shapes = [...report.forest.rules(rows), {
      type: "line", xref: "x", yref: "paper", x0: 0, x1: 0, y0: 0, y1: 1, layer: "below", line: { color: look.ink, width: 1.4 },
    }];
    const traces = [];
    const offset = narrow ? 9 / step : 0;
    const shrunk = { x: [], y: [], color: [], text: [] };
    const margins = { x: [], y: [] };
    ["", "worse", "better"].forEach((kind) => {
      const line = { x: [], y: [] };
      const mark = { x: [], y: [], text: [], symbol: [] };
      drawn.forEach((row) => {
        const place = places.get(row.slice);
        if (kindOf(place, metric) !== kind) return;
        const [low, high] = [value("delta_low", place), value("delta_high", place)];
        if (!Number.isNaN(low)) {
          line.x.push(Math.max(low, range[0]), Math.min(high, range[1]), null);
          line.y.push(row.y - offset, row.y - offset, null);
        }
        mark.x.push(value("delta", place));
        mark.y.push(row.y - offset);
        mark.text.push(describe(place, metric));
        mark.symbol.push(tested(place) ? symbols[kind] : "circle-open");
        if (row.slice !== "overall" && cells.delta_shrunk[place] !== null) {
          shrunk.x.push(value("delta_shrunk", place));
          shrunk.y.push(row.y - offset - 8 / step);
          shrunk.color.push(colors[kind]);
          shrunk.text.push(describe(place, metric));
        }
      });
      traces.push({ ...line, mode: "lines", type: "scatter", hoverinfo: "skip", line: { color: colors[kind], width: 2 } });
      traces.push({
        x: mark.x, y: mark.y, hovertext: mark.text, hoverinfo: "text", mode: "markers", type: "scatter", name: kind || "not shown",
        marker: { color: colors[kind], size: kind ? 10 : 8, symbol: mark.symbol, line: { width: 1.5, color: colors[kind] } },
      });
    });
    traces.push({
      x: shrunk.x, y: shrunk.y, hovertext: shrunk.text, hoverinfo: "text", mode: "markers", type: "scatter", name: "shrunk",
      marker: { color: shrunk.color, size: 6, symbol: "diamond-open", line: { width: 1.2, color: shrunk.color } },
    });
    drawn.forEach((row) => {
      const at = marginOf(places.get(row.slice), metric);
      if (!Number.isNaN(at)) { margins.x.push(at, at, null); margins.y.push(row.y - 0.5, row.y + 0.5, null); }
    });
    traces.push({ ...margins, mode: "lines", type: "scatter", hoverinfo: "skip", name: "margin", line: { color: look.bad, width: 1.6, dash: "dash" } });
    const status = (row) => {
      const place = places.get(row.slice);
      return drawable(place) ? "" : name("note", place) || "no delta";
    };
    traces.push(...report.forest.words(rows, status, frame));
    tell(metric, model, places);
    target.setAttribute("aria-label", `Forest plot of deltas of ${metric}; the table below holds the same numbers.`);
    return report.draw(Plotly, target, traces, report.forest.layout(target, rows, shapes, frame));
  }

  function tell(metric, model, places) {
    const { direction, unit, margin } = data.metrics[metric];
    const place = places.get("overall");
    const all = place !== undefined && cells.delta[place] !== null
      ? `All rows: ${report.signed(cells.delta[place], unit)} ${ends(place, unit)}.` : "";
    section.querySelector("[data-caption]").textContent = [
      `${metric}${direction ? ` (${direction})` : ""}${unit ? `, in ${unit}` : ""}: ${model} minus ${data.baseline}.`, all,
      margin === null ? "" : `The dashed line is the margin of ${margin}${data.relative ? " of |baseline|" : ""}.`,
      direction ? "" : "It has no direction, so nothing is better or worse.",
    ].filter(Boolean).join(" ");
  }

  function sets() {
    const { metric, model } = chosen();
    const found = data.heterogeneity.filter((row) => row.metric === metric && row.model === model);
    const block = section.querySelector("[data-sets]");
    block.hidden = !found.length;
    block.querySelector("tbody").replaceChildren(...found.map((row) => {
      const line = document.createElement("tr");
      const words = [
        row.slices, report.count(row.n), `${report.text(row.q)} (${row.degrees} df)`, report.text(row.p_value), report.text(row.between),
        report.number(row.p_value) < data.significant ? "they differ" : "not shown to differ",
      ];
      words.forEach((text, place) => {
        const cell = document.createElement(place ? "td" : "th");
        if (!place) cell.scope = "row";
        if (place && place < 5) cell.className = "number";
        cell.textContent = text;
        line.append(cell);
      });
      return line;
    }));
  }

  const unitOf = () => data.metrics[chosen().metric].unit;
  const number = (column, write = (value) => report.text(value)) => ({
    text: (place) => write(cells[column][place]), key: (place) => value(column, place),
  });
  const count = (column) => ({
    text: (place) => (cells[column][place] === null ? "-" : report.count(cells[column][place])), key: (place) => value(column, place),
  });
  const written = (value) => report.written(value, unitOf());
  const signed = (value) => report.signed(value, unitOf());
  const grid = report.grid(section.querySelector("[data-grid]"), {
    slice: { text: (place) => name("slice", place), small: (place) => name("note", place) },
    baseline: number("baseline", written),
    candidate: number("candidate", written),
    delta: {
      ...number("delta", signed),
      text: (place) => `${{ better: "▲ ", worse: "▼ ", "": "" }[kindOf(place, chosen().metric)]}${signed(cells.delta[place])}`,
      look: (place) => { const kind = kindOf(place, chosen().metric); return kind && `badge ${kind}`; },
    },
    interval: {
      text: (place) => ends(place, unitOf()),
      key: (place) => value("delta_low", place),
    },
    shrunk: number("delta_shrunk", signed),
    p: number("p_value"),
    q: number("q_value"),
    detectable: number("detectable", written),
    rows: count("rows"),
  }, { noun: "deltas", mark: (place) => (tested(place) ? "" : "unsure") });

  function follow() {
    const group = field("group");
    const wanted = group && group !== "all" ? new Set(["overall", ...data.groups[Number(group)].slices]) : null;
    grid.show([...placesOf(chosen())].filter(([slice]) => !wanted || wanted.has(slice)).map(([, place]) => place));
    sets();
    return draw();
  }

  form.addEventListener("change", follow);
  form.addEventListener("submit", (event) => event.preventDefault());
  report.redraws.push(draw);
  await follow();
});
