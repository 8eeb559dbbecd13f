/* Changed decisions by slice, a table for each candidate, drawn when it is asked for. */
report.part("flips", async (section, data) => {
  section.querySelectorAll("[data-model]").forEach((block) => {
    const cells = data.models[block.dataset.model];
    const count = (column) => ({ text: (place) => report.count(cells[column][place]), key: (place) => cells[column][place] });
    const net = (place) => cells.fixed[place] - cells.broken[place];
    const columns = {
      slice: { text: (place) => cells.slice[place] },
      net: {
        text: (place) => `${net(place) > 0 ? "▲ +" : net(place) < 0 ? "▼ " : ""}${report.count(net(place))}`,
        key: net,
      },
      churn: { text: (place) => report.text(cells.churn[place]), key: (place) => report.number(cells.churn[place]) },
      interval: { text: (place) => report.interval(cells.low[place], cells.high[place]), key: (place) => report.number(cells.low[place]) },
    };
    ["rows", "changed", "fixed", "broken", "to_positive", "to_negative"].forEach((name) => { columns[name] = count(name); });
    const details = block.querySelector("[data-grid]");
    let grid = null;
    details.addEventListener("toggle", () => {
      if (grid || !details.open) return;
      grid = report.grid(details, columns, { noun: "slices" });
      grid.show([...cells.slice.keys()]);
    });
  });
});
