// Views of single runs: training curves, pictures; and the notes.

const CURVES = {
  "val/average_miou": "validation Average",
  "val/top1_miou": "validation Top-1",
  "val/last1_miou": "validation Last-1",
  "train/loss": "training loss",
};

function hasCurves(row) {
  return row.training.some((log) => Object.keys(log).length);
}

function trainingView() {
  const rows = shownRows().filter(hasCurves);
  if (!rows.length) {
    return absent(
      "No run shown here has logs: older published records carry none. Runs of your own have curves; make one with:",
      `make bench DATA=${dataset().name}`,
    );
  }
  const curve = state.curve in CURVES ? state.curve : DEFAULTS.curve;
  const traces = rows.flatMap((row) =>
    row.training
      .map((log, place) => [log[curve], place])
      .filter(([log]) => log)
      .map(([log, place], nth) => ({
        type: "scatter",
        mode: "lines",
        name: clipped(row.name),
        legendgroup: row.id,
        showlegend: nth === 0,
        x: log.step,
        y: log.value,
        line: { color: looks(row).color, dash: looks(row).dash, width: 1.8 },
        hovertemplate: `step %{x}: %{y:.2f}<extra>${literal(clipped(row.name))}, seed ${row.seeds[place]}</extra>`,
      })),
  );
  const unit = curve === "train/loss" ? "loss" : "mIoU in per cent";
  const layout = { xaxis: { title: { text: "training step" } }, yaxis: { title: { text: unit } }, showlegend: true };
  const columns = [{ title: "method" }, { title: "seed" }, { title: "step" }, { title: CURVES[curve] }];
  const lines = rows.flatMap((row) =>
    row.training.flatMap((log, place) =>
      (log[curve]?.step ?? []).map((step, point) => [
        row.name,
        { value: row.seeds[place], text: String(row.seeds[place]) },
        { value: step, text: String(step) },
        log[curve].value[point],
      ]),
    ),
  );
  const without = shownRows().length - rows.length;
  return [
    controls(choice("curve", "Curve", Object.entries(CURVES), curve)),
    figure({
      title: `Training: ${CURVES[curve]}`,
      name: `training.${curve}`,
      traces,
      layout,
      height: legendHeight(rows),
      remark: `A line per seed, from the runs' own logs.${without ? ` ${without} methods have none.` : ""}`,
    }),
    table({ title: "the points of the curves", name: `training.${curve}`, folded: true, columns, rows: lines }),
  ];
}

function colourText([r, g, b]) {
  return `rgb(${r}, ${g}, ${b})`;
}

function pictureOf(source, text) {
  return el("img", { src: source, alt: text, title: text });
}

async function pixelsOf(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = el("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return [canvas, context, context.getImageData(0, 0, canvas.width, canvas.height)];
}

const RIGHT = [214, 222, 230],
  WRONG = [214, 40, 40],
  NOT_SCORED = [0, 0, 0];

// The colours of the classes, and of more pairs of a colour and what it means.
function classLegend(gallery, ...more) {
  const swatch = ([colour, text]) => el("span", {}, el("i", { style: `background:${colourText(colour)}` }), text);
  const classes = gallery.classes.map((entry) => [entry.color, entry.name]);
  return el("div", { class: "legend" }, ...[...classes, ...more].map(swatch));
}

// Right pixels pale, wrong ones red, what is not scored black; and the share that is right.
async function errorMap(gallery, labelSource, predictedSource) {
  const [, , truth] = await pixelsOf(labelSource);
  const [canvas, context, predicted] = await pixelsOf(predictedSource);
  const key = (data, at) => (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
  const left = new Set([gallery.unlabelled, ...gallery.unscored].map(([r, g, b]) => (r << 16) | (g << 8) | b));
  let right = 0,
    counted = 0;
  for (let at = 0; at < truth.data.length; at += 4) {
    const scored = !left.has(key(truth.data, at));
    const same = scored && key(truth.data, at) === key(predicted.data, at);
    counted += scored;
    right += same;
    predicted.data.set(scored ? (same ? RIGHT : WRONG) : NOT_SCORED, at);
  }
  context.putImageData(predicted, 0, 0);
  return [canvas, counted ? (100 * right) / counted : null];
}

function picturesView() {
  const gallery = board().gallery;
  if (!gallery.scenes) {
    return absent(
      "No run shown here has left pictures (many published records have none). A run of your own leaves " +
        "them by itself; for one made before, or for other scenes:",
      "make examples RUN=<run directory> SCENES=<ids>",
    );
  }
  const scene = gallery.scenes.find((entry) => entry.id === state.scene) ?? gallery.scenes[0];
  const subset = board().subsets[subsetPlace()];
  const buttons = board().subsets.map((name) =>
    el(
      "button",
      { id: `subset-${name}`, "aria-pressed": String(name === subset), onclick: () => go({ subset: name }) },
      name,
    ),
  );
  const inputs = Object.entries(scene.modalities).map(([name, source]) => {
    const there = subset.split("+").includes(gallery.letters[name]);
    return el(
      "div",
      { class: there ? "card" : "card missing" },
      el("h3", {}, `${gallery.letters[name]}  ${name}${there ? "" : " (missing)"}`),
      pictureOf(source, name),
    );
  });
  inputs.push(el("div", { class: "card" }, el("h3", {}, "label"), pictureOf(scene.label, "label")));
  const rows = shownRows().filter((row) => scene.rows[row.id]?.subsets[subset]);
  const cards = rows.map((row) => {
    const { seed, subsets } = scene.rows[row.id];
    const head = el("h3", {}, `${row.name}, seed ${seed}`);
    const pair = el("div", { class: "pair" }, pictureOf(subsets[subset], `${row.name} from ${subset}`));
    errorMap(gallery, scene.label, subsets[subset]).then(([canvas, right]) => {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `errors of ${row.name}`);
      pair.append(canvas);
      head.append(right === null ? "" : `: ${fixed(right, 1)} % right`);
    });
    return el("div", { class: "card result" }, head, pair);
  });
  const without = shownRows().length - rows.length;
  const lacking = without ? ` ${without} methods have no pictures: make examples RUN=<run directory>.` : "";
  const thinned = scene.step > 1 ? `, every ${scene.step}th pixel` : "";
  return [
    el("h2", {}, `Scene ${scene.id} with ${subset}`),
    controls(
      choice(
        "scene",
        "Scene",
        gallery.scenes.map((entry) => [entry.id, entry.id]),
        scene.id,
      ),
      el("div", { class: "controls", role: "group", "aria-label": "Subset" }, "Subset", ...buttons),
    ),
    el("div", { class: "cards" }, ...inputs),
    classLegend(gallery, [RIGHT, "right"], [WRONG, "wrong"], [NOT_SCORED, "not scored"]),
    cards.length
      ? el("div", { class: "cards two" }, ...cards)
      : absent(`No method has a picture of this scene with ${subset}.`),
    note(
      `Left the prediction, right its errors. ${scene.pixels[0]} x ${scene.pixels[1]} pixels ` +
        `of the scene from its upper left corner${thinned}.${lacking}`,
    ),
  ];
}

function remarksList() {
  if (!DATA.remarks.length) return note("Nothing was left out.");
  return el("section", {}, el("h2", {}, "Left out"), el("ul", {}, ...DATA.remarks.map((text) => el("li", {}, text))));
}

function emptyList() {
  const links = emptyViews().flatMap(([key, [text]]) => [" ", el("a", { href: address({ view: key }) }, text)]);
  return links.length ? el("p", {}, "Views without content here, which say how to fill them:", ...links) : "";
}

function notesView() {
  const lines = DATA.datasets.map((entry) =>
    [entry.name, entry.fingerprint.slice(0, 12), ...entry.sizes].map((value) =>
      typeof value === "number" ? { value, text: String(value) } : value,
    ),
  );
  const columns = [
    { title: "dataset" },
    { title: "fingerprint", text: true },
    { title: "protocols" },
    { title: "methods" },
    { title: "runs" },
  ];
  const runs = board().rows.flatMap((row) =>
    row.runs.map((run, place) => [
      rowHead(row),
      String(row.seeds[place]),
      run.created,
      run.device,
      String(run.steps),
      run.commit,
      run.local ? "local" : "published",
    ]),
  );
  const about = [
    { title: "method" },
    { title: "seed" },
    ...["made", "device", "steps", "commit", "record"].map((title) => ({ title, text: true })),
  ];
  return [
    table({ title: "What is in this report", name: "contents", columns, rows: lines }),
    emptyList(),
    el("h2", {}, "What the numbers mean"),
    note(board().note),
    note(
      "A score is computed per seed and then averaged; \u00b1 is the standard deviation over " +
        "seeds (n - 1). A dash: nothing was scored, or the class does not occur.",
    ),
    table({
      title: `runs of ${dataset().name}, ${board().title}`,
      name: "runs",
      columns: about,
      rows: runs,
      folded: true,
    }),
    remarksList(),
  ];
}
