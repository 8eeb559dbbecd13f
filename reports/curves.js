/* Three curves of the chosen slices: colour is the slice, line style the model. */
report.part("curves", async (section, data) => {
  const Plotly = await report.plotly();
  const form = section.querySelector("form");
  const choices = section.querySelector("[data-choices]");
  const keys = section.querySelector("[data-keys]");
  const most = 8;
  const dashes = ["solid", "dash", "dot", "dashdot"];
  const kinds = {
    roc: { x: "false positive rate", y: "recall" },
    precision_recall: { x: "recall", y: "precision" },
    calibration: { x: "mean score", y: "share of positives" },
  };
  const colors = new Map(); // the colour number of each chosen slice, kept while it stays chosen

  const known = (slice) => data.models.some((model) => data.points[model][slice]);

  function addChoice(block, slice, checked) {
    if (!known(slice)) return;
    const label = document.createElement("label");
    label.className = "choice";
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = slice;
    box.checked = checked;
    label.append(box, slice);
    block.append(label);
  }

  function addBlock(name) {
    const block = document.createElement("div");
    const heading = document.createElement("div");
    heading.className = "heading";
    heading.textContent = name;
    block.append(heading);
    choices.append(block);
    return block;
  }

  function fill() {
    addChoice(addBlock("all rows"), "overall", true);
    data.groups.forEach((group, number) => {
      const block = addBlock(group.name);
      group.slices.forEach((slice, place) => addChoice(block, slice, number === 0 && place < 4));
    });
  }

  function chosen() {
    const boxes = [...choices.querySelectorAll("input")];
    const checked = boxes.filter((box) => box.checked).map((box) => box.value);
    boxes.forEach((box) => { box.disabled = !box.checked && checked.length >= most; });
    [...colors.keys()].forEach((slice) => { if (!checked.includes(slice)) colors.delete(slice); });
    checked.forEach((slice) => {
      if (colors.has(slice)) return;
      const taken = new Set(colors.values());
      colors.set(slice, [...Array(most).keys()].find((number) => !taken.has(number)));
    });
    return checked;
  }

  function models() {
    const select = form.elements.model;
    return !select ? [0] : select.value === "all" ? data.models.map((_, number) => number) : [Number(select.value)];
  }

  function lines(slices) {
    return models().flatMap((model, order) => slices.map((slice) => ({
      slice, order, model: data.models[model], points: data.points[data.models[model]][slice], color: colors.get(slice),
    }))).filter((line) => line.points);
  }

  function hover(line, kind, values, place) {
    const names = [`<b>${report.escape(line.slice)}</b>`, report.escape(line.model)];
    names.push(`${kinds[kind].x} ${values.x[place]}`, `${kinds[kind].y} ${values.y[place]}`);
    if (kind === "calibration") names.push(`[${values.low[place]}, ${values.high[place]}]`, `${report.count(values.rows[place])} rows`);
    else names.push(values.threshold[place] === "inf" ? "threshold above every score" : `threshold ${values.threshold[place]}`);
    return names.join("<br>");
  }

  function traces(kind, all, look) {
    return all.filter((line) => line.points[kind]).map((line) => {
      const values = line.points[kind];
      const color = look.series[line.color % look.series.length];
      const trace = {
        x: values.x, y: values.y, type: "scatter", mode: kind === "calibration" ? "lines+markers" : "lines",
        line: { color, width: 2, dash: dashes[line.order % dashes.length] }, hoverinfo: "text",
        hovertext: values.x.map((_, place) => hover(line, kind, values, place)),
        name: report.escape(line.slice), marker: { color, size: 6 },
      };
      if (kind === "calibration") {
        trace.error_y = {
          type: "data", symmetric: false, color, thickness: 1, width: 0,
          array: values.high.map((high, place) => high - values.y[place]),
          arrayminus: values.low.map((low, place) => values.y[place] - low),
        };
      }
      return trace;
    });
  }

  function legend(all, look) {
    keys.replaceChildren(...all.map((line) => {
      const item = document.createElement("li");
      const key = document.createElement("span");
      key.className = `line ${dashes[line.order % dashes.length]}`;
      key.style.borderColor = look.series[line.color % look.series.length];
      const several = form.elements.model && form.elements.model.value === "all";
      const size = `${report.count(line.points.rows)} rows, ${report.count(line.points.positives)} positive`;
      item.append(key, `${several ? `${line.model}: ` : ""}${line.slice} `);
      const small = document.createElement("span");
      small.className = "muted";
      small.textContent = `(${size})`;
      item.append(small);
      return item;
    }));
  }

  function draw() {
    const look = report.look();
    const all = lines(chosen());
    legend(all, look);
    const axis = report.axis();
    return Promise.all(Object.entries(kinds).map(([kind, titles]) => {
      const target = section.querySelector(`[data-plot="${kind}"]`);
      const drawn = traces(kind, all, look);
      const diagonal = { type: "line", x0: 0, x1: 1, y0: 0, y1: 1, layer: "below", line: { color: look.muted, width: 1, dash: "dot" } };
      const empty = kind === "calibration" ? "Scores are no probabilities." : "Choose a slice.";
      const unit = { ...axis, range: [-0.02, 1.02], tickvals: [0, 0.25, 0.5, 0.75, 1], fixedrange: !report.precise };
      return report.draw(Plotly, target, drawn, {
        height: Math.max(Math.min(target.clientWidth, 420), 260),
        margin: { l: 46, r: 10, t: 8, b: 42 },
        shapes: kind === "precision_recall" ? [] : [diagonal],
        annotations: drawn.length ? [] : [{ text: empty, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 }],
        xaxis: { ...unit, title: { text: titles.x } },
        yaxis: { ...unit, title: { text: titles.y } },
        hovermode: "closest",
      });
    }));
  }

  fill();
  form.addEventListener("change", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.filter.addEventListener("input", () => {
    const terms = report.terms(form.elements.filter.value);
    choices.querySelectorAll("label").forEach((label) => {
      const text = label.textContent.toLowerCase();
      label.hidden = !terms.every((term) => text.includes(term));
    });
    [...choices.children].forEach((block) => { block.hidden = !block.querySelector("label:not([hidden])"); });
  });
  report.redraws.push(draw);
  await draw();
});
