/* Metrics of cost by slice, and curves of one slice with the models over one another: colour and line style. */
report.part("costs", async (section, data, cells) => {
  const dashes = ["solid", "dash", "dot", "dashdot"];
  const noted = (form, listener) => {
    form.addEventListener("change", listener);
    form.addEventListener("submit", (event) => event.preventDefault());
  };

  /* --- by slice --- */
  const block = section.querySelector("[data-grid]");
  if (block) {
    const select = block.querySelector("[name=metric]");
    const places = new Map(); // metric, slice and model to the place in the table
    const wanted = new Set(Object.keys(data.money));
    cells.metric.forEach((code, place) => {
      if (wanted.has(cells.names.metric[code])) places.set(`${code} ${cells.slice[place]} ${cells.model[place]}`, place);
    });
    const at = (slice, model) => places.get(`${cells.names.metric.indexOf(select.value)} ${slice} ${model}`);
    const write = (value) => report.written(value, data.money[select.value]);
    const first = (slice) => cells.names.model.map((_, model) => at(slice, model)).find((place) => place !== undefined);
    const columns = {
      slice: { text: (slice) => cells.names.slice[slice] },
      rows: {
        text: (slice) => (cells.rows[first(slice)] === null ? "-" : report.count(cells.rows[first(slice)])),
        key: (slice) => report.number(cells.rows[first(slice)]),
      },
    };
    cells.names.model.forEach((_, model) => {
      columns[`model ${model}`] = {
        text(slice) {
          const place = at(slice, model);
          if (place === undefined) return "-";
          if (cells.value[place] === null) return cells.names.state[cells.state[place]];
          return data.money[select.value] ? report.amount(cells.value[place], data.currency) : report.text(cells.value[place]);
        },
        key: (slice) => { const place = at(slice, model); return place === undefined ? NaN : report.number(cells.value[place]); },
        small(slice) {
          const place = at(slice, model);
          return place === undefined ? "" : report.interval(cells.low[place], cells.high[place], write);
        },
      };
    });
    const grid = report.grid(block, columns, { noun: "slices" });
    const follow = () => grid.show([...cells.names.slice.keys()].filter((slice) => first(slice) !== undefined));
    noted(block.querySelector("form"), follow);
    follow();
  }

  /* --- curves --- */
  const form = section.querySelector("[data-curves]");
  if (!form) return;
  const Plotly = await report.plotly();
  const field = (name) => (form.elements[name] ? form.elements[name].value : "0");
  const known = (column) => column.map((value) => (value === null ? NaN : value));
  const negative = (column) => column.map((value) => (value === null ? NaN : -value));
  const paid = (value) => (data.currency ? report.amount(value, data.currency) : report.text(value));
  const ends = (low, high) => report.interval(Number.isNaN(low) ? null : low, high, (value) => report.written(value, data.currency));
  const opaque = (color, share) => `${color}${Math.round(share * 255).toString(16).padStart(2, "0")}`;

  function band(x, low, high, color, share = 0.16) {
    const kept = [...x.keys()].filter((place) => [x, low, high].every((column) => Number.isFinite(column[place])));
    const back = [...kept].reverse();
    return {
      x: [...kept.map((i) => x[i]), ...back.map((i) => x[i])], y: [...kept.map((i) => low[i]), ...back.map((i) => high[i])],
      type: "scatter", mode: "lines", fill: "toself", fillcolor: opaque(color, share), line: { width: 0 }, hoverinfo: "skip",
    };
  }
  function curve(name, number, x, y, look, describe) {
    return {
      x, y, type: "scatter", mode: "lines", name: report.escape(name), hoverinfo: "text",
      hovertext: x.map((_, place) => [`<b>${report.escape(name)}</b>`, ...describe(place)].join("<br>")),
      line: { color: look.series[number % look.series.length], width: 2, dash: dashes[number % dashes.length] },
    };
  }
  const reference = (x, y, look, text, dash = "dot") => ({
    x, y, type: "scatter", mode: "lines", hoverinfo: "text", hovertext: x.map(() => text), line: { color: look.muted, width: 1.3, dash },
  });

  const makers = {
    cost(look, models, slice, spec) {
      const traces = [];
      models.forEach(({ model, number, points }) => {
        const found = points.cost[spec];
        if (!found) return;
        const x = known(found.threshold), y = negative(found.profit), low = negative(found.high), high = negative(found.low);
        const color = look.series[number % look.series.length];
        traces.push(band(x, low, high, color));
        traces.push(curve(model, number, x, y, look, (i) => [
          Number.isFinite(x[i]) ? `threshold ${report.text(x[i])}` : "threshold above every score",
          `${paid(y[i])} ${ends(low[i], high[i])}`,
        ]));
      });
      const found = models.map(({ points }) => points.cost[spec]).find(Boolean);
      if (found) {
        const [never, always] = [-found.profit[0], -found.profit.at(-1)];
        traces.push(reference([0, 1], [never, never], look, `never positive: ${paid(never)}`));
        traces.push(reference([0, 1], [always, always], look, `always positive: ${paid(always)}`, "dash"));
      }
      return { traces, x: "threshold", y: data.unit, mark: data.marks[spec] };
    },
    difference(look, models, slice, spec) {
      const traces = [];
      models.forEach(({ model, number }) => {
        const found = (data.differences[model] || {})[slice] && data.differences[model][slice][spec];
        if (!found) return;
        const x = known(found.threshold), y = known(found.difference);
        const color = look.series[number % look.series.length];
        traces.push(band(x, known(found.low_all), known(found.high_all), color, 0.12));
        traces.push(band(x, known(found.low), known(found.high), color, 0.2));
        traces.push(curve(model, number, x, y, look, (i) => [
          `threshold ${report.text(x[i])}`, `${paid(y[i])} ${ends(found.low[i], found.high[i])}`,
          `at all thresholds ${ends(found.low_all[i], found.high_all[i])}`,
        ]));
      });
      return { traces, x: "threshold", y: data.unit, mark: data.marks[spec], zero: true };
    },
    profit(look, models, slice, spec) {
      const traces = [];
      models.forEach(({ model, number, points }) => {
        const found = points.cost[spec];
        if (!found) return;
        const x = known(found.positive_prediction_rate), y = known(found.profit);
        traces.push(band(x, known(found.low), known(found.high), look.series[number % look.series.length]));
        traces.push(curve(model, number, x, y, look, (i) => [
          `${report.text(100 * x[i])}% called positive`, found.threshold[i] === null ? "threshold above every score" : `threshold ${report.text(found.threshold[i])}`,
          paid(y[i]),
        ]));
      });
      return { traces, x: "share called positive", y: data.unit, zero: true };
    },
    benefit(look, models) {
      const traces = [];
      let top = 0;
      models.forEach(({ model, number, points }) => {
        const found = points.benefit;
        if (!found) return;
        const y = known(found.model);
        top = Math.max(top, ...known(found.high).filter(Number.isFinite), ...y.filter(Number.isFinite));
        traces.push(band(found.threshold, known(found.low), known(found.high), look.series[number % look.series.length]));
        traces.push(curve(model, number, found.threshold, y, look, (i) => [`threshold probability ${report.text(found.threshold[i])}`, `net benefit ${report.text(y[i])}`]));
      });
      const found = models.map(({ points }) => points.benefit).find(Boolean);
      if (found) traces.push(reference(found.threshold, known(found.treat_all), look, "treat all", "dash"), reference([0, 1], [0, 0], look, "treat none"));
      return { traces, x: "threshold probability", y: "net benefit", range: top ? [-0.35 * top, 1.08 * top] : null };
    },
    lines(look, models) {
      const traces = [];
      models.forEach(({ model, number, points }) => {
        const found = points.lines;
        if (!found) return;
        const y = known(found.normalized_cost);
        traces.push(curve(model, number, found.probability_cost, y, look, (i) => [`probability cost ${report.text(found.probability_cost[i])}`, `normalised cost ${report.text(y[i])}`]));
      });
      if (traces.length) traces.push(reference([0, 1], [0, 1], look, "never positive"), reference([0, 1], [1, 0], look, "always positive", "dash"));
      return { traces, x: "probability cost", y: "normalised cost", range: [0, 0.55] };
    },
  };

  function legend(models, look) {
    const item = (text, color, dash) => {
      const line = document.createElement("li");
      const key = document.createElement("span");
      key.className = `line ${dash}`;
      key.style.borderColor = color;
      line.append(key, text);
      return line;
    };
    section.querySelector("[data-keys]").replaceChildren(
      ...models.map(({ model, number }) => item(model, look.series[number % look.series.length], dashes[number % dashes.length])),
      item("never positive (treat none)", look.muted, "dot"), item("always positive (treat all)", look.muted, "dash"),
    );
  }

  function draw() {
    const look = report.look();
    const [slice, spec] = [field("slice"), Number(field("spec"))];
    const models = data.models.map((model, number) => ({ model, number, points: data.points[model][slice] })).filter(({ points }) => points);
    legend(models, look);
    const differing = Object.keys(data.differences).length > 0;
    section.querySelector("[data-difference]").hidden = !differing;
    const names = Object.keys(data.differences);
    section.querySelector("[data-title]").textContent = `Cost of ${names.length === 1 ? names[0] : "each candidate"} minus ${data.baseline}'s`;
    const axis = report.axis();
    return Promise.all(Object.entries(makers).filter(([kind]) => kind !== "difference" || differing).map(([kind, make]) => {
      const target = section.querySelector(`[data-plot="${kind}"]`);
      const { traces, x, y, mark = null, zero = false, range = null } = make(look, models, slice, spec);
      const line = (shape) => ({ type: "line", layer: "below", line: { color: look.muted, width: 1.2, dash: "dot" }, ...shape });
      const fixed = !report.precise;
      return report.draw(Plotly, target, traces, {
        height: Math.max(Math.min(target.clientWidth * 0.8, 360), 250),
        margin: { l: 62, r: 10, t: 8, b: 42 },
        shapes: [
          ...(mark === null ? [] : [line({ xref: "x", yref: "paper", x0: mark, x1: mark, y0: 0, y1: 1 })]),
          ...(zero ? [line({ xref: "paper", yref: "y", x0: 0, x1: 1, y0: 0, y1: 0, line: { color: look.ink, width: 1 } })] : []),
        ],
        annotations: traces.length ? [] : [{ text: kind === "difference" ? "Not drawn for this slice." : "No curve for these scores.", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 }],
        xaxis: { ...axis, title: { text: report.escape(x) }, fixedrange: fixed },
        yaxis: { ...axis, title: { text: report.escape(y), standoff: 6 }, fixedrange: fixed, ...(range ? { range } : {}) },
        hovermode: "closest",
      });
    }));
  }

  noted(form, draw);
  report.redraws.push(draw);
  await draw();
});
