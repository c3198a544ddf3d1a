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
    ...damagePictures(scenarios[scenario], rows),
  ];
}

// What the networks saw of one damaged sensor, and what they made of it; empty without pictures.
function damagePictures({ id, severities }, rows) {
  const { gallery } = board().damage;
  const scene = gallery.scenes?.find((entry) => entry.id === id);
  if (!scene) return [];
  const sensors = Object.keys(scene.modalities).filter((name) => `strongest.${name}` in scene.modalities);
  const sensor = sensors.find((name) => gallery.letters[name] === state.damaged) ?? sensors[0];
  // name of the severity, of the picture and of the prediction
  const ends = [["clean", sensor, "clean"]];
  if (severities.length > 1) ends.push([severities[0], `mildest.${sensor}`, `mildest.${sensor}`]);
  ends.push([severities.at(-1), `strongest.${sensor}`, `strongest.${sensor}`]);
  const captioned = (text, source, words) => el("div", {}, el("h3", {}, text), pictureOf(source, words));
  const inputs = ends.map(([text, input]) => captioned(text, scene.modalities[input], `${sensor}, ${text}`));
  inputs.push(captioned("label", scene.label, "label"));
  const cards = rows
    .filter(([row]) => scene.rows[row.id])
    .map(([row]) => {
      const { seed, subsets } = scene.rows[row.id];
      const shown = ends.map(([text, , prediction]) => {
        const part = captioned(text, subsets[prediction], `${row.name}, ${text}`);
        errorMap(gallery, scene.label, subsets[prediction]).then(([, right]) => {
          if (right !== null) part.firstChild.append(`: ${fixed(right, 1)} % right`);
        });
        return part;
      });
      return el("div", { class: "card" }, el("h3", {}, `${row.name}, seed ${seed}`), el("div", { class: "pair" }, ...shown));
    });
  const others = sensors.length > 1 ? " Another sensor: choose it under Damaged." : "";
  return [
    el("h2", {}, `What the networks saw of ${gallery.letters[sensor]}, and made of it`),
    el("div", { class: "card" }, el("div", { class: "pair" }, ...inputs)),
    classLegend(gallery),
    el("div", { class: "cards two" }, ...cards),
    note(
      `${sensor} alone is damaged and all sensors are at hand; ${scene.pixels[0]} x ${scene.pixels[1]} pixels of the ` +
        `first test scene that has them. All pictures of the sensor have the range of the clean one.${others}`,
    ),
  ];
}
