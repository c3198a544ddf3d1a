// What damaged sensors cost: curves over the severities of a scenario.

function damagedRows() {
  const found = board().damage.rows ?? {};
  return shownRows()
    .filter((row) => Object.keys(found[row.id]?.scores ?? {}).length)
    .map((row) => [row, found[row.id]]);
}

function damageView() {
  const every = damagedRows();
  if (!every.length) {
    return absent("No method shown here was scored while sensors are damaged:", "make robustness RUN=<run directory>");
  }
  const { scenarios } = board().damage;
  const listed = Object.keys(scenarios).filter((name) => every.some(([, found]) => name in found.scores));
  const scenario = listed.includes(state.scenario) ? state.scenario : listed[0];
  const { severities, sets } = scenarios[scenario];
  const rows = every.filter(([, found]) => scenario in found.scores);
  const chosen = sets.indexOf(state.damaged);
  const what = chosen < 0 ? (sets.length > 1 ? "mean over damaged sets" : `${sets[0]} damaged`) : `${sets[chosen]} damaged`;
  // values of every severity, a number per seed
  const bySeverity = (found) => {
    const parts = chosen < 0 ? found.scores[scenario] : [found.scores[scenario][chosen]];
    return severities.map((_, place) => found.clean.map((_, seed) => mean(parts.map((part) => part[place][seed]))));
  };
  const ticks = ["clean", ...severities];
  const banded = rows.length <= 4;
  const traces = rows.flatMap(([row, found]) => {
    const points = [found.clean, ...bySeverity(found)];
    return bandedLine(row, ticks, points.map(mean), points.map(deviation), banded, "%{x}", "lines+markers");
  });
  const layout = {
    xaxis: { type: "category" },
    yaxis: { title: { text: "mIoU in per cent" } },
    showlegend: true,
  };
  const lines = rows.map(([row, found]) => {
    const points = bySeverity(found);
    const whole = found.clean.map((_, seed) => mean(points.map((seeds) => seeds[seed])));
    const cases = found.scores[scenario].flatMap((part, set) =>
      part.map((seeds, place) => [seeds, `${severities[place]}, ${sets[set]}`, set]),
    );
    const [worst, name] = cases
      .filter(([, , set]) => chosen < 0 || set === chosen)
      .reduce((low, one) => (mean(one[0]) < mean(low[0]) ? one : low));
    const drop = found.clean.map((value, seed) => value - whole[seed]);
    const cells = [found.clean, whole, worst, drop].map((seeds) => spreadCell(mean(seeds), deviation(seeds)));
    return [row.name, ...cells, name, { value: found.clean.length, text: String(found.clean.length) }];
  });
  const without = shownRows().length - rows.length;
  return [
    controls(
      choice(
        "scenario",
        "Scenario",
        listed.map((name) => [name, `${name} (${scenarios[name].group})`]),
        scenario,
        { damaged: "" },
      ),
      sets.length > 1 &&
        choice("damaged", "Damaged", [["", "mean over all sets"], ...sets.map((name) => [name, name])], sets[chosen] ?? ""),
    ),
    el(
      "div",
      { class: "beside" },
      figure({
        title: `${scenario}: ${what}`,
        name: `damage.${scenario}`,
        traces,
        layout,
        height: legendHeight(rows),
        remark:
          `All sensors are at hand and some of them are damaged, mildest first; means of seeds` +
          `${banded ? ", bands: one standard deviation over seeds" : " (bands with four methods or fewer)"}.` +
          `${without ? ` ${without} methods were not scored under it: make robustness RUN=<run directory>.` : ""}`,
      }),
      table({
        title: `mIoU under ${scenario}`,
        name: `damage.${scenario}`,
        columns: [
          { title: "method" },
          ...["clean", "mean", "worst", "drop"].map((title) => ({ title, parts: ["", " std"] })),
          { title: "worst case", text: true },
          { title: "n" },
        ],
        rows: lines,
        remark: "Mean: over severities and the damaged sets that are shown. Drop: clean less mean, in points.",
      }),
    ),
  ];
}
