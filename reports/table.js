/* The table of all results: sorted and filtered places in the columns, and as many rows of HTML as are asked for. */
report.part("table", async (section, data, cells) => {
  const form = section.querySelector("form");
  const body = section.querySelector("tbody");
  const headers = [...section.querySelectorAll("th[data-column]")];
  const columns = headers.map((header) => header.dataset.column);
  const size = 150;
  const state = { column: null, down: false, shown: size };
  const collator = new Intl.Collator("en", { numeric: true });
  const numeric = new Set(["value", "low", "rows", "support"]);
  const name = (column, place) => cells.names[column][cells[column][place]];
  const searched = cells.model.map((_, place) => (
    ["model", "slice", "metric", "note"].map((column) => name(column, place)).join("\n").toLowerCase()
  ));

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

  /* Missing numbers stay at the end in both directions. */
  function sorted(places) {
    const { column, down } = state;
    if (column === null) return places;
    const sign = down ? -1 : 1;
    if (!numeric.has(column)) {
      const order = new Map([...cells.names[column].keys()].sort((a, b) => collator.compare(cells.names[column][a], cells.names[column][b])).map((code, rank) => [code, rank]));
      return places.sort((a, b) => sign * (order.get(cells[column][a]) - order.get(cells[column][b])));
    }
    const value = (place) => report.number(cells[column][place]);
    return places.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return x === y ? 0 : sign * (x < y ? -1 : 1);
    });
  }

  function text(column, place) {
    if (column === "value") return cells.text[place];
    if (column === "low") return cells.interval[place];
    if (column === "rows" || column === "support") return cells[column][place] === null ? "-" : report.count(cells[column][place]);
    return name(column, place);
  }

  function remark(place) {
    const status = name("state", place);
    return [status === "ok" ? "" : status, name("note", place)].filter(Boolean).join(": ");
  }

  function line(place) {
    const row = document.createElement("tr");
    const status = name("state", place);
    if (status !== "ok" && status !== "approximate") row.className = "unsure";
    columns.forEach((column) => {
      const cell = document.createElement(column === "slice" ? "th" : "td");
      if (column === "slice") cell.scope = "row";
      if (numeric.has(column)) cell.className = "number";
      if (column === "state") cell.className = "note";
      cell.textContent = column === "state" ? remark(place) : text(column, place);
      row.append(cell);
    });
    return row;
  }

  function draw() {
    const places = sorted(filtered());
    const shown = places.slice(0, state.shown);
    body.replaceChildren(...shown.map(line));
    section.querySelector("[data-count]").textContent = places.length
      ? `${report.count(shown.length)} of ${report.count(places.length)} results shown${places.length < searched.length ? `, of ${report.count(searched.length)} in all` : ""}.`
      : "No result matches.";
    section.querySelector(".more").hidden = shown.length === places.length;
    headers.forEach((header) => {
      const direction = header.dataset.column !== state.column ? "none" : state.down ? "descending" : "ascending";
      header.setAttribute("aria-sort", direction);
    });
  }

  const restart = () => { state.shown = size; draw(); };
  headers.forEach((header) => header.querySelector("button").addEventListener("click", () => {
    const { column } = header.dataset;
    state.down = state.column === column && !state.down;
    state.column = column;
    draw();
  }));
  form.addEventListener("input", restart);
  form.addEventListener("reset", () => { state.column = null; setTimeout(restart); });
  form.addEventListener("submit", (event) => event.preventDefault());
  section.querySelector("[data-more]").addEventListener("click", () => { state.shown += size; draw(); });
  section.querySelector("[data-everything]").addEventListener("click", () => { state.shown = Infinity; draw(); });
  draw();
});
