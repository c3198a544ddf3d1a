// How far confidences can be trusted: scores per subset, and a reliability diagram.

function calibratedRows() {
  const found = board().calibration.rows ?? {};
  return shownRows()
    .filter((row) => row.id in found)
    .map((row) => [row, found[row.id]]);
}

function calibrationView() {
  const rows = calibratedRows();
  if (!rows.length) {
    return absent("The confidences of no method shown here were counted:", "make reliability RUN=<run directory>");
  }
  const { measures, columns } = board().calibration;
  const number = Math.max(
    0,
    measures.findIndex(({ name }) => name === state.trust),
  );
  const { name, digits } = measures[number];
  const unit = digits > 2 ? "" : " in per cent"; // of all but the Brier score
  const without = shownRows().length - rows.length;
  return [
    controls(
      choice(
        "trust",
        "Score",
        measures.map((one) => [one.name, one.name]),
        name,
      ),
    ),
    heatMap({
      title: `${name}${unit}`,
      name: `calibration.${name}`,
      rows: names(rows.map(([row]) => row)),
      columns,
      values: rows.map(([, found]) => found.scores[number].map(([value]) => value)),
      digits: digits > 2 ? 3 : 1,
      xTitle: "available sensors",
      remark:
        "Means of seeds. ECE and MCE: mean and largest gap between confidence and accuracy in 15 bins; Brier: 0 to " +
        "2; label changes: another class than with all sensors. Lower is better, but for OA and confidence." +
        (without ? ` ${without} methods have no such counts: make reliability RUN=<run directory>.` : ""),
    }),
    table({
      title: `${name}${unit}`,
      name: `calibration.${name}`,
      folded: true,
      columns: [{ title: "method" }, ...columns.map((title) => ({ title, parts: ["", " std"] }))],
      rows: rows.map(([row, found]) => [
        row.name,
        ...found.scores[number].map(([value, std]) => ({
          ...spreadCell(value, std),
          text: withSpread(value, std, digits),
        })),
      ]),
    }),
    ...reliabilityDiagram(rows),
  ];
}

function reliabilityDiagram(rows) {
  const [row, found] = rows.find(([one]) => short(one) === state.row) ?? rows[0];
  const subset = board().subsets[subsetPlace()];
  const [share, accuracy, confidence] = found.bins[subsetPlace()];
  const edges = share.map((_, place) => (place + 0.5) / share.length);
  const there = accuracy.map((value, place) => [confidence[place], value]).filter(([, value]) => value !== null);
  const traces = [
    {
      type: "bar",
      name: "share of pixels",
      x: edges,
      y: share,
      width: 1 / share.length,
      marker: { color: "#8a8a8a70" },
      hovertemplate: "%{y:.3f}<extra>share of pixels</extra>",
    },
    {
      type: "scatter",
      mode: "lines",
      name: "as sure as right",
      x: [0, 1],
      y: [0, 1],
      line: { color: "#8a8a8a", dash: "dash", width: 1.2 },
      hoverinfo: "skip",
    },
    {
      type: "scatter",
      mode: "lines+markers",
      name: "accuracy",
      x: there.map(([value]) => value),
      y: there.map(([, value]) => value),
      line: { color: HUES[0], width: 2.2 },
      hovertemplate: "confidence %{x:.3f}: %{y:.3f}<extra>accuracy</extra>",
    },
  ];
  const layout = {
    xaxis: { title: { text: "confidence" }, range: [0, 1] },
    yaxis: { title: { text: "accuracy, share of pixels" }, range: [0, 1.02] },
  };
  const score = (wanted) => {
    const at = board().calibration.measures.findIndex(({ name }) => name === wanted);
    return found.scores[at][board().calibration.columns.indexOf(subset)][0];
  };
  return [
    controls(
      choice(
        "row",
        "Method",
        rows.map(([one]) => [short(one), one.name]),
        short(row),
      ),
      subsetChoice(),
    ),
    figure({
      title: `Reliability: ${row.name} with ${subset}`,
      name: `reliability.${row.method}.${subset}`,
      traces,
      layout,
      height: 440,
      remark:
        `ECE ${fixed(score("ECE"))} %, Brier ${fixed(score("Brier"), 4)}, label changes ${fixed(score("label changes"))} %. ` +
        `Points below the dashed line: surer than right. Bins of all seeds together (${found.seeds}).`,
    }),
  ];
}
