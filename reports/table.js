/* The table of all results: sorted and filtered places in the columns of `cells`. */
report.part("table", async (section, data, cells) => {
  const form = section.querySelector("form");
  const name = (column, place) => cells.names[column][cells[column][place]];
  const searched = cells.model.map((_, place) => (
    ["model", "slice", "metric", "note"].map((column) => name(column, place)).join("\n").toLowerCase()
  ));
  const number = (column) => (place) => report.number(cells[column][place]);
  const count = (column) => ({ text: (place) => (cells[column][place] === null ? "-" : report.count(cells[column][place])), key: number(column) });
  const unit = (place) => cells.units[cells.metric[place]];

  function remark(place) {
    const status = name("state", place);
    return [status === "ok" ? "" : status, name("note", place)].filter(Boolean).join(": ");
  }

  const grid = report.grid(section, {
    model: { text: (place) => name("model", place) },
    slice: { text: (place) => name("slice", place) },
    metric: { text: (place) => name("metric", place), small: unit },
    value: { text: (place) => cells.text[place], key: number("value") },
    low: { text: (place) => cells.interval[place], key: number("low") },
    rows: count("rows"),
    support: count("support"),
    state: { text: remark, key: (place) => name("state", place) },
  }, {
    total: searched.length,
    mark: (place) => (["ok", "approximate"].includes(name("state", place)) ? "" : "unsure"),
  });

  function filtered() {
    const terms = report.terms(form.elements.find.value);
    const wanted = ["model", "metric", "state"]
      .filter((column) => form.elements[column] && form.elements[column].value !== "")
      .map((column) => [cells[column], Number(form.elements[column].value)]);
    const places = [];
    searched.forEach((text, place) => {
      if (wanted.every(([codes, code]) => codes[place] === code) && terms.every((term) => text.includes(term))) places.push(place);
    });
    return places;
  }

  const restart = () => grid.show(filtered());
  form.addEventListener("input", restart);
  form.addEventListener("reset", () => { grid.unsort(); setTimeout(restart); });
  form.addEventListener("submit", (event) => event.preventDefault());
  restart();
});
