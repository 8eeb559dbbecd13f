/* The questions of each rule, drawn when they are asked for. */
report.part("verdict", async (section, data) => {
  section.querySelectorAll("details[data-rule]").forEach((block) => {
    const { text, number } = data.rules[Number(block.dataset.rule)];
    const columns = Object.fromEntries(data.headers.map((name) => {
      const column = { text: (place) => text[name][place] };
      if (number[name]) column.key = (place) => report.number(number[name][place]);
      if (name === "subject") column.small = (place) => text.remark[place];
      if (name === "outcome") column.look = (place) => `outcome ${text.outcome[place]}`;
      return [name, column];
    }));
    let grid = null;
    block.addEventListener("toggle", () => {
      if (grid || !block.open) return;
      grid = report.grid(block, columns, { noun: text.outcome.length === 1 ? "question" : "questions" });
      grid.show([...text.outcome.keys()]);
    });
  });
});
