// Views of what sensors are worth: failures, Shapley values, cost.

function worthRows() {
  const found = board().sensor_values.rows ?? {};
  return shownRows()
    .filter((row) => row.id in found)
    .map((row) => [row, found[row.id]]);
}

function noWorth() {
  return absent("Worth and failures need a score of every subset; no method shown here has them all (see Notes).");
}

function failuresView() {
  const rows = worthRows();
  if (!rows.length) return noWorth();
  const { p, failures, crossings } = board().sensor_values;
  const banded = rows.length <= 4;
  const traces = rows.flatMap(([row, worth]) => bandedLine(row, p, worth.curve, worth.band, banded, "p = %{x}"));
  const layout = {
    xaxis: { title: { text: "probability p that a sensor fails" }, range: [0, 1] },
    yaxis: { title: { text: "expected mIoU in per cent" } },
  };
  const expected = rows.map(([row, worth]) => [
    row.name,
    ...worth.expected.map(([value, std]) => spreadCell(value, std)),
    spreadCell(...row.summary.Average),
  ]);
  const visible = new Set(rows.map(([row]) => row.id));
  const met = crossings.filter((line) => visible.has(line.first) && visible.has(line.second));
  return [
    figure({
      title: "Expected mIoU when sensors fail",
      name: "failures",
      traces,
      layout,
      height: legendHeight(rows),
      remark:
        `Each sensor fails independently with probability p, given that at least one is left; means ` +
        `of seeds${banded ? ", bands: one standard deviation over seeds" : " (bands with four methods or fewer)"}. ` +
        `At p = 1 one sensor alone is left, each as likely.`,
    }),
    table({
      title: "Expected mIoU",
      name: "failures",
      columns: [
        { title: "method" },
        ...failures.map((value) => ({ title: value ? `p = ${value}` : "none fails", parts: ["", " std"] })),
        { title: "Average", parts: ["", " std"] },
      ],
      rows: expected,
      remark:
        "Average takes every subset as equally likely. The condition (at least one sensor is left) " +
        "is inferred from the published values of mIoU^E_EMM.",
    }),
    met.length
      ? table({
          title: "Where two methods change places",
          name: "crossings",
          columns: [
            { title: "ahead below p" },
            { title: "ahead above p", text: true },
            { title: "p" },
            { title: "mIoU there" },
          ],
          rows: met.map((line) => [
            rowById(line.first).name,
            rowById(line.second).name,
            { value: line.p, text: fixed(line.p, 4) },
            line.miou,
          ]),
        })
      : note("No two of these curves cross."),
  ];
}

function sensorsView() {
  const rows = worthRows();
  if (!rows.length) return noWorth();
  const { letters, pairs, classes } = board().sensor_values;
  const part = Number(state.part) < classes.length ? Number(state.part) : 0;
  const bars = (kind, subjects) =>
    rows.map(([row, worth]) => ({
      type: "bar",
      name: clipped(row.name),
      x: subjects,
      y: worth[kind][part].map((entry) => entry[0]),
      error_y: { type: "data", array: worth[kind][part].map((entry) => entry[1] ?? 0), thickness: 1, width: 2 },
      marker: { color: looks(row).color, pattern: { shape: { solid: "", dash: "/", dot: "." }[looks(row).dash] } },
      hovertemplate: "%{x}: %{y:.2f}<extra>" + literal(clipped(row.name)) + "</extra>",
    }));
  const layout = {
    barmode: "group",
    xaxis: { type: "category" },
    yaxis: { title: { text: `points of ${part ? "IoU" : "mIoU"}` } },
  };
  const height = legendHeight(rows);
  const lines = rows.map(([row, worth]) => [
    row.name,
    ...[...worth.shapley[part], ...worth.interaction[part]].map(([value, std]) => spreadCell(value, std)),
  ]);
  return [
    controls(
      choice(
        "part",
        "Of",
        classes.map((name, place) => [String(place), place ? `IoU ${name}` : name]),
        String(part),
      ),
    ),
    figure({
      title: `What each sensor is worth: ${classes[part]}`,
      name: `shapley.${classes[part]}`,
      traces: bars("shapley", letters),
      layout,
      height,
      remark:
        "Shapley value: the mean, over all orders of arrival, of what the sensor adds; no sensor " +
        "at all scores 0, and the values sum to the score of the full set. Bars on top: one standard " +
        "deviation over seeds.",
    }),
    pairs.length
      ? figure({
          title: `Interaction of pairs: ${classes[part]}`,
          name: `interaction.${classes[part]}`,
          traces: bars("interaction", pairs),
          layout,
          height,
          remark:
            "Shapley interaction index: positive where two sensors add more together than apart, negative " +
            "where one stands in for the other.",
        })
      : null,
    table({
      title: "Shapley values and interactions",
      name: `shapley.${classes[part]}`,
      columns: [{ title: "method" }, ...[...letters, ...pairs].map((title) => ({ title, parts: ["", " std"] }))],
      rows: lines,
    }),
  ];
}

// The line of a row in the table of costs.
function costOf(row) {
  const own = (line) => line.method === row.method && (!line.backbone || line.backbone === row.backbone);
  return dataset().costs.find((line) => Object.keys(line.values).length && own(line));
}

// The shown rows that stand in the table of costs, with their lines.
function costRows() {
  return shownRows()
    .map((row) => [row, costOf(row)])
    .filter(([, line]) => line);
}

function costView() {
  const found = costRows();
  if (!found.length) {
    return absent(
      dataset().costs.length
        ? "None of the methods shown here stands in the table of costs with this backbone."
        : "What the methods cost has not been counted for this dataset:",
      dataset().costs.length ? "" : `make profile-all DATA=${dataset().name}`,
    );
  }
  const kinds = Object.keys(found[0][1].values);
  const kind = kinds.includes(state.cost) ? state.cost : (kinds.findLast((name) => /gmac/i.test(name)) ?? kinds[0]);
  const headline = state.headline in found[0][0].summary ? state.headline : "Average";
  const traces = found.map(([row, line]) => ({
    type: "scatter",
    mode: "markers",
    name: clipped(row.name),
    x: [line.values[kind]],
    y: [row.summary[headline][0]],
    marker: { color: looks(row).color, symbol: looks(row).symbol, size: 12 },
    error_y: { type: "data", array: [row.summary[headline][1] ?? 0], thickness: 1.2, width: 4 },
    hovertemplate: `%{x}, %{y:.2f}<extra>${literal(clipped(row.name))}</extra>`,
  }));
  const layout = {
    xaxis: { title: { text: kind }, rangemode: "tozero" },
    yaxis: { title: { text: `${headline}, mIoU in per cent` } },
    showlegend: true,
  };
  return [
    controls(
      choice(
        "cost",
        "Cost",
        kinds.map((name) => [name, name]),
        kind,
      ),
      choice(
        "headline",
        "Score",
        ["Average", "Top-1", "Last-1"].map((name) => [name, name]),
        headline,
      ),
    ),
    figure({
      title: `${headline} against ${kind}`,
      name: `cost.${kind}`,
      traces,
      layout,
      height: legendHeight(found),
      remark: "Bars: one standard deviation over seeds. Costs are counted at the dataset's window.",
    }),
    table({
      title: "Cost",
      name: "cost",
      columns: [
        { title: "method" },
        { title: "backbone", text: true },
        ...kinds.map((title) => ({ title })),
        { title: headline, parts: ["", " std"] },
      ],
      rows: found.map(([row, line]) => [
        row.name,
        row.backbone,
        ...kinds.map((name) => plainCell(line.values[name])),
        spreadCell(...row.summary[headline]),
      ]),
    }),
  ];
}
