// Views of scores: leaderboard, subsets, classes, conditions, confusion.

// Names beside a figure, each once: an axis puts those that read alike into one place.
function names(rows = shownRows()) {
  const seen = new Map();
  return rows.map((row) => {
    const text = clipped(row.name, NARROW.matches ? 14 : 34);
    seen.set(text, (seen.get(text) ?? 0) + 1);
    return seen.get(text) > 1 ? `${text} (${seen.get(text)})` : text;
  });
}

// The name of a row with the ways to its paper, its ledger and the command that makes it.
function rowHead(row) {
  const links = [];
  if (row.paper) links.push(["paper", row.paper]);
  if (row.ledger && DATA.checkout) links.push(["ledger", `${DATA.checkout}/${row.ledger}`]);
  links.push(["run", runAddress(row)]);
  return { ...row.cells[0], text: row.name, links, more: foldButton(row) };
}

// How many rows are folded behind this one; a click shows or hides them.
function foldButton(row) {
  const members = board().rows.filter((one) => one.head === row.id && one !== row);
  if (!members.length || opened().has("all")) return "";
  const open = opened();
  const unfolded = open.has(short(row));
  const toggle = () => {
    if (!open.delete(short(row))) open.add(short(row));
    go({ open: [...open].sort().join(".") });
  };
  const text = unfolded ? "fold" : `+${members.length}`;
  const said = `${row.family}: ${members.length} more`;
  const told = { "aria-expanded": String(unfolded), "aria-label": said, title: said };
  return el("button", { class: "fold", id: `fold-${short(row)}`, ...told, onclick: toggle }, text);
}

function rowById(id) {
  return board().rows.find((row) => row.id === id);
}

// {low, high} of a row's measure over the test scenes, or null.
function interval(row, measure) {
  const found = board().intervals.rows[row.id]?.[measure];
  return found ? { low: found[0], high: found[1] } : null;
}

function leaderboardView() {
  const rows = shownRows();
  const full = rows.some((row) => row.id in board().intervals.rows);
  const summaries = ["Average", "Top-1", "Last-1"];
  // the columns are those of benchmark/leaderboard/table.py, then intervals of the summaries
  const columns = [];
  const all = wantedRows();
  const lines = all.map((row) => [rowHead(row)]);
  const subsetOf = (title) => (board().subsets.includes(title) || summaries.includes(title) ? title : null);
  // scores first: texts such as the protocol matter less, and a phone shows few columns
  const places = board().columns.map((_, place) => place);
  const order = (place) => (place && board().columns[place].text ? 1 : 0);
  for (const place of places.sort((a, b) => order(a) - order(b))) {
    const column = board().columns[place];
    columns.push(column);
    const subset = place && subsetOf(column.title);
    const linked = (row) => (subset ? { ...row.cells[place], href: runAddress(row, subset) } : row.cells[place]);
    if (place) all.forEach((row, number) => lines[number].push(linked(row)));
  }
  for (const column of full ? board().columns.filter((one) => summaries.includes(one.title)) : []) {
    columns.push({ title: `${column.title} interval`, parts: [" low", " high"] });
    all.forEach((row, number) => {
      const found = interval(row, column.title);
      const text = found ? `${fixed(found.low)} to ${fixed(found.high)}` : "-";
      lines[number].push({ value: found?.low ?? null, text, parts: [found?.low, found?.high] });
    });
  }
  const intervals = full
    ? `Intervals: ${board().intervals.how}; they speak of the choice of test scenes, the spread (\u00b1) of the seeds.`
    : board().intervals.reason;
  return [
    table({
      title: `Leaderboard: ${dataset().name}, ${board().title}`,
      name: "leaderboard",
      columns,
      rows: lines.filter((_, number) => rows.includes(all[number])),
      saved: lines,
      remark: `${foldingText()}${board().note} ${intervals}`,
    }),
    headlineChart(rows, summaries, full),
    pairsTable(rows),
  ];
}

function foldingText() {
  const folded = foldedRows().length;
  if (!folded) return "";
  return (
    `${folded} rows are folded: of a family its best published row is shown, and its best baseline; + shows what ` +
    "else there is of it (variants, other settings). The CSV has all rows. "
  );
}

function headlineChart(rows, summaries, full) {
  const marks = {
    Average: ["#4477aa", "circle"],
    "Top-1": ["#228833", "triangle-right"],
    "Last-1": ["#ee6677", "triangle-left"],
  };
  const traces = summaries.map((title) => {
    const ends = rows.map((row) => {
      const [value, std] = row.summary[title];
      const found = interval(row, title);
      return found ? [found.high - value, value - found.low] : [std ?? 0, std ?? 0];
    });
    return {
      type: "scatter",
      mode: "markers",
      name: title,
      x: rows.map((row) => row.summary[title][0]),
      y: names(rows),
      marker: { color: marks[title][0], symbol: marks[title][1], size: 10 },
      error_x: {
        type: "data",
        symmetric: false,
        array: ends.map((end) => end[0]),
        arrayminus: ends.map((end) => end[1]),
        thickness: 1.4,
        width: 4,
      },
      hovertemplate: "%{y}<br>%{x:.2f}<extra>" + literal(title) + "</extra>",
    };
  });
  const layout = {
    xaxis: { title: { text: "mIoU in per cent" } },
    yaxis: { type: "category", autorange: "reversed", ticksuffix: " " },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
    margin: { l: 60, r: 20, t: 40, b: 50 },
  };
  return figure({
    title: "Average, Top-1 and Last-1",
    name: "summaries",
    traces,
    layout,
    height: 150 + 26 * rows.length,
    remark: full
      ? "Bars: the interval over test scenes where the row has one, else one standard deviation over seeds."
      : "Bars: one standard deviation over seeds.",
  });
}

// Differences between one row and all others, with what forbids to call one of them better.
function pairsTable(rows) {
  if (!board().intervals.pairs.length) return null;
  const with_ = rowById(rows.find((row) => short(row) === state.against)?.id) ?? rows[0];
  const shown = new Set(rows.map((row) => row.id));
  const lines = [];
  for (const pair of board().intervals.pairs) {
    if (!shown.has(pair.first) || !shown.has(pair.second) || ![pair.first, pair.second].includes(with_.id)) continue;
    const turned = pair.second === with_.id;
    const other = rowById(turned ? pair.first : pair.second);
    const [value, low, high] = turned
      ? [-pair.difference, -pair.high, -pair.low]
      : [pair.difference, pair.low, pair.high];
    lines.push([
      other.name,
      pair.measure,
      value,
      { value: low, text: `${fixed(low)} to ${fixed(high)}`, parts: [low, high] },
      pair.verdict || "separable",
    ]);
  }
  const columns = [
    { title: "compared with" },
    { title: "measure", text: true },
    { title: "difference" },
    { title: "interval", parts: [" low", " high"] },
    { title: "verdict", text: true },
  ];
  const compared = controls(
    choice(
      "against",
      "Compare",
      rows.map((row) => [short(row), row.name]),
      short(with_),
    ),
  );
  return el(
    "section",
    {},
    compared,
    table({
      title: `Differences: ${with_.name} less the others`,
      name: "differences",
      columns,
      rows: lines,
      remark:
        "Points of mIoU. Not separable: 0 lies inside the interval. Within the seeds' spread: the " +
        "difference is no larger than what another seed may change. Each interval stands for itself; " +
        "of many, some miss by chance.",
    }),
  );
}

/* Rows x columns of a score, as values or as differences to a reference; one figure and its table.
   score(row, column) -> one value per seed; own, references of the same row: {key: [text, same kind of function]}. */
function comparison({ title, name, columns, score, own, remark, choices, xTitle }) {
  const rows = shownRows();
  const reference = rows.find((row) => short(row) === state.against);
  const ownReference = own[state.against];
  const cell = (row, column) => {
    const seeds = score(row, column);
    if (ownReference) {
      const base = ownReference[1](row, column);
      const steps = seeds.map((value, seed) => (value === null || base[seed] === null ? null : value - base[seed]));
      return [mean(steps), deviation(steps)];
    }
    if (!reference) return [mean(seeds), deviation(seeds)];
    const base = score(reference, column);
    const [value, other] = [mean(seeds), mean(base)];
    const spread = Math.hypot(deviation(seeds) ?? NaN, deviation(base) ?? NaN);
    return [value === null || other === null ? null : value - other, Number.isNaN(spread) ? null : spread];
  };
  const cells = rows.map((row) => columns.map((_, column) => cell(row, column)));
  const against = [
    ["", "nothing: the values"],
    ...Object.entries(own).map(([key, [text]]) => [key, `the same method's ${text}`]),
    ...rows.map((row) => [short(row), row.name]),
  ];
  const differences = Boolean(reference || ownReference);
  const said = differences ? `${title}, less ${ownReference ? `its ${ownReference[0]}` : reference.name}` : title;
  const meaning = differences
    ? "Points, means of seeds; blue is better than the reference, red worse."
    : "Per cent, means of seeds.";
  return [
    controls(...choices, choice("against", "Compare with", against, differences ? state.against : "")),
    heatMap({
      title: said,
      name,
      rows: names(rows),
      columns,
      values: cells.map((line) => line.map((entry) => entry[0])),
      differences,
      xTitle,
      remark: `${meaning} ${remark ?? ""}`,
    }),
    table({
      title: said,
      name,
      folded: true,
      columns: [{ title: "method" }, ...columns.map((text) => ({ title: text, parts: ["", " std"] }))],
      rows: rows.map((row, place) => [row.name, ...cells[place].map(([value, std]) => spreadCell(value, std))]),
      remark:
        differences && reference
          ? "\u00b1: root of the sum of both squared standard deviations over seeds."
          : "\u00b1: standard deviation over seeds.",
    }),
  ];
}

function subsetsView() {
  const condition = conditionPlace();
  const full = board().subsets.length - 1;
  return comparison({
    title: `${measureName()} of every subset`,
    name: `subsets.${state.measure}`,
    columns: board().subsets,
    score: (row, column) => scores(row, state.measure, condition, column),
    own: { full: ["full set", (row) => scores(row, state.measure, condition, full)] },
    choices: [choice("measure", "Score", measures()), conditionChoice()],
    xTitle: "available sensors",
  });
}

function classesView() {
  const [subset, condition, full] = [subsetPlace(), conditionPlace(), board().subsets.length - 1];
  const classes = board().averaged.map((label) => board().labels[label]);
  const f1 = state.measure === "mf1";
  const turn = (values) =>
    f1 ? values.map((value) => (value === null ? null : (2 * value) / (1 + value / 100))) : values;
  return comparison({
    title: `${f1 ? "F1" : "IoU"} per class with ${board().subsets[subset]}`,
    name: `classes.${board().subsets[subset]}`,
    columns: classes,
    score: (row, column) => turn(scores(row, `class:${column}`, condition, subset)),
    own: { full: ["full set", (row, column) => turn(scores(row, `class:${column}`, condition, full))] },
    choices: [
      subsetChoice(),
      conditionChoice(),
      choice(
        "measure",
        "Score",
        [
          ["miou", "IoU"],
          ["mf1", "F1"],
        ],
        f1 ? "mf1" : "miou",
      ),
    ],
  });
}

function conditionsView() {
  if (board().conditions.length < 2) {
    return absent(`The test scenes of ${dataset().name} carry no conditions (such as weather); deliver has them.`);
  }
  const [subset, full] = [subsetPlace(), board().subsets.length - 1];
  const scenes = board()
    .conditions.map((name, place) => `${name}: ${Math.max(...shownRows()[0].scored[place])}`)
    .join(", ");
  return comparison({
    title: `${measureName()} per condition with ${board().subsets[subset]}`,
    name: `conditions.${board().subsets[subset]}`,
    columns: board().conditions,
    score: (row, column) => scores(row, state.measure, column, subset),
    own: {
      all: ["score over all scenes", (row) => scores(row, state.measure, 0, subset)],
      full: ["full set", (row, column) => scores(row, state.measure, column, full)],
    },
    choices: [subsetChoice(), choice("measure", "Score", measures())],
    remark: `Test scenes: ${scenes}. A class that no scene of a condition shows is left out there.`,
  });
}

function confusionView() {
  const row = chosenRow();
  const subset = subsetPlace();
  const seed = row.seeds.findIndex((value) => String(value) === state.seed);
  const parts = seed < 0 ? row.counts : [row.counts[seed]];
  const counts = parts[0][subset].map((line, truth) =>
    line.map((_, output) => parts.reduce((sum, part) => sum + part[subset][truth][output], 0)),
  );
  const outputs = row.outputs.map((label) => board().labels[label]);
  const lines = counts.map((line) => line.reduce((a, b) => a + b, 0));
  const columns = outputs.map((_, output) => counts.reduce((sum, line) => sum + line[output], 0));
  const share = (value, truth, output) => {
    const whole = state.share === "taken" ? columns[output] : lines[truth];
    return whole ? (100 * value) / whole : null;
  };
  const whose = seed < 0 && row.seeds.length > 1 ? "all seeds" : `seed ${row.seeds[Math.max(seed, 0)]}`;
  const which = `${row.name}, ${board().subsets[subset]}, ${whose}`;
  const shares = [
    ["truth", "each true class"],
    ["taken", "each predicted class"],
  ];
  return [
    controls(
      rowChoice("row", "Method"),
      subsetChoice(),
      choice(
        "seed",
        "Seed",
        [["", "all, summed"], ...row.seeds.map((value) => [String(value), String(value)])],
        seed < 0 ? "" : state.seed,
      ),
      choice("share", "Per cent of", shares),
    ),
    heatMap({
      title: `Confusion: ${which}`,
      name: `confusion.${row.method}.${board().subsets[subset]}`,
      rows: board().labels,
      columns: outputs,
      xTitle: "predicted",
      values: counts.map((line, truth) => line.map((value, output) => share(value, truth, output))),
      remark:
        `Rows: true class, columns: predicted. Per cent of each ${state.share === "taken" ? "column" : "row"}, ` +
        `over all test scenes.`,
    }),
    table({
      title: "pixels",
      name: `confusion.${row.method}.${board().subsets[subset]}`,
      folded: true,
      columns: [{ title: "true class" }, ...outputs.map((title) => ({ title }))],
      rows: counts.map((line, truth) => [board().labels[truth], ...line.map(plainCell)]),
    }),
  ];
}
