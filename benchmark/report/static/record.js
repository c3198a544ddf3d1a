// The runs behind a row: every seed's scores, and where they come from.

const SUMMARIES = {
  Average: mean,
  "Top-1": (values) => Math.max(...values),
  "Last-1": (values) => Math.min(...values),
};

// A summary of each seed, over the subsets that were scored; none of a row that has none in the tables.
function seedSummaries(row, name) {
  return row.miou.map((seed) => {
    if (row.summary[name][0] === null) return null;
    const values = seed[0].filter((value) => value !== null);
    return values.length ? SUMMARIES[name](values) : null;
  });
}

function backLink() {
  const view = state.from in VIEWS ? state.from : DEFAULTS.view;
  const text = `\u2190 back to ${VIEWS[view][0]}`;
  return el("p", {}, el("a", { href: address({ view, row: "", subset: "", from: "" }), id: "back" }, text));
}

function runView() {
  const row = board().rows.find((one) => short(one) === state.row) ?? chosenRow();
  const cost = costOf(row)?.values ?? {};
  const line = (name, seeds, scored) => [
    { value: name, text: name, marked: name === state.subset },
    ...seeds,
    spreadCell(mean(seeds), deviation(seeds)),
    scored === undefined ? "-" : plainCell(scored),
    cost[`GMAC ${name}`] === undefined ? "-" : plainCell(cost[`GMAC ${name}`]),
  ];
  const lines = [
    ...Object.keys(SUMMARIES).map((name) => line(name, seedSummaries(row, name))),
    ...board().subsets.map((name, place) => line(name, scores(row, "miou", 0, place), row.scored[0][place])),
  ];
  const runs = row.runs.map((run, place) => [
    run.folder,
    String(row.seeds[place]),
    run.created,
    run.device,
    String(run.steps),
    ...run.seconds.map((value) => (value === undefined || value === null ? "-" : plainCell(Math.round(value)))),
    run.commit,
    run.local ? "local" : "published",
  ]);
  return [
    backLink(),
    originOf(row),
    table({
      title: "Scores of every seed",
      name: `run.${row.method}`,
      columns: [
        { title: "sensors" },
        ...row.seeds.map((seed) => ({ title: `seed ${seed}` })),
        { title: "mean", parts: ["", " std"] },
        { title: "scenes" },
        { title: "GMAC" },
      ],
      rows: lines,
      remark: `Protocol ${board().title}. ${board().note}`,
    }),
    table({
      title: "Its records",
      name: `records.${row.method}`,
      columns: [
        { title: "folder" },
        { title: "seed" },
        ...["made", "device"].map((title) => ({ title, text: true })),
        { title: "steps" },
        { title: "training s" },
        { title: "test s" },
        ...["commit", "record"].map((title) => ({ title, text: true })),
      ],
      rows: runs,
      remark: "Seconds are those of the machine with whatever else it did; they are not for comparisons.",
    }),
  ];
}

function originOf(row) {
  const paper = row.paper ? el("a", { href: row.paper, target: "_blank", rel: "noopener noreferrer" }, row.paper) : "-";
  const told = { family: row.family, kind: row.kind, backbone: row.backbone, settings: row.overrides || "as they come" };
  const words = Object.entries(told).map(([name, value]) => `${name} ${value}`);
  return el(
    "section",
    {},
    el("h2", {}, row.name),
    el("p", {}, `${dataset().name}: ${words.join(" \u00b7 ")}`),
    el("p", {}, "Command: ", el("code", {}, row.command)),
    el("p", {}, "Paper: ", paper, row.ledger ? ` \u00b7 Ledger of the port: ${row.ledger}` : ""),
  );
}
