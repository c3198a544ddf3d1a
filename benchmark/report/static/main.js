// The frame: header, views, what happens when the address changes.

// Each with what it shows, and whether there is any of it for this board.
const always = () => true;
const VIEWS = {
  overview: ["Overview", overviewView, always],
  leaderboard: ["Leaderboard", leaderboardView, always],
  subsets: ["Subsets", subsetsView, () => board().subsets.length > 1],
  classes: ["Classes", classesView, always],
  conditions: ["Conditions", conditionsView, () => board().conditions.length > 1],
  confusion: ["Confusion", confusionView, always],
  failures: ["Failures", failuresView, () => Boolean(worthRows().length)],
  sensors: ["Sensors", sensorsView, () => Boolean(worthRows().length)],
  damage: ["Damage", damageView, () => Boolean(damagedRows().length)],
  calibration: ["Calibration", calibrationView, () => Boolean(calibratedRows().length)],
  cost: ["Cost", costView, () => Boolean(costRows().length)],
  training: ["Training", trainingView, () => shownRows().some(hasCurves)],
  pictures: ["Pictures", picturesView, () => Boolean(board().gallery.scenes)],
  notes: ["Notes", notesView, always],
  // one comes here from a number
  run: ["Run", runView, () => false],
};

// The views without content: Notes leads to them, and they say how to fill them.
function emptyViews() {
  return Object.entries(VIEWS).filter(([key, [, , filled]]) => key !== "run" && !filled());
}

function spelledLetters() {
  const letters = Object.entries(board().letters).map(([letter, text]) => `${letter} ${text}`);
  return note(`Sensors: ${letters.join(", ")}.`);
}

const darkWanted = matchMedia("(prefers-color-scheme: dark)");

function applyTheme() {
  document.documentElement.dataset.theme = state.theme || (darkWanted.matches ? "dark" : "light");
}

function themeButton() {
  const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  return el(
    "button",
    { id: "theme", onclick: () => go({ theme: other }) },
    `${other[0].toUpperCase()}${other.slice(1)} page`,
  );
}

// Which rows are shown: a box per row, in the address as the hidden ones.
function rowFilter() {
  const off = hidden();
  const box = (row) =>
    el(
      "label",
      {},
      el("input", {
        type: "checkbox",
        id: `row-${short(row)}`,
        checked: off.has(short(row)) ? null : "",
        onchange: (event) => {
          const now = hidden();
          if (event.target.checked) now.delete(short(row));
          else now.add(short(row));
          go({ hide: [...now].sort().join(".") });
        },
      }),
      " ",
      row.name,
    );
  const all = el("button", { id: "rows-all", onclick: () => go({ hide: "" }) }, "all");
  const none = el(
    "button",
    { id: "rows-first", onclick: () => go({ hide: board().rows.slice(1).map(short).sort().join(".") }) },
    "first only",
  );
  // the best of a family decides where it stands
  const families = [...new Set(board().rows.map((row) => row.family))].map((family) =>
    el(
      "fieldset",
      {},
      el("legend", {}, family),
      ...board()
        .rows.filter((row) => row.family === family)
        .map(box),
    ),
  );
  const sorts = Object.entries(SORTS).map(([key, name]) => {
    const values = [...new Set(board().rows.map((row) => row[key]))].filter(Boolean).sort();
    return values.length > 1 && choice(key, name, [["", "all"], ...values.map((value) => [value, value])]);
  });
  const text = `Methods (${shownRows().length} of ${board().rows.length})`;
  const open = document.querySelector("details.rows")?.open;
  return el(
    "details",
    { class: "rows", open: open ? "" : null },
    el("summary", { id: "rows" }, text),
    el("div", {}, controls(...sorts), el("div", { class: "tools" }, all, none), ...families),
  );
}

// Shows every row, or folds the families again.
function foldAllButton() {
  const folded = foldedRows().length;
  if (!folded && !state.open) return "";
  const text = folded ? `Show ${folded} folded rows` : "Fold families";
  return el("button", { id: "fold-all", onclick: () => go({ open: folded ? "all" : "" }) }, text);
}

function drawFilters() {
  const filters = document.getElementById("filters");
  const parts = [];
  if (DATA.datasets.length) {
    parts.push(
      choice(
        "data",
        "Dataset",
        DATA.datasets.map((entry) => [entry.name, entry.name]),
        dataset().name,
        FRESH,
      ),
    );
    if (dataset().boards.length > 1) {
      parts.push(
        choice(
          "board",
          "Protocol",
          dataset().boards.map((entry, place) => [String(place), entry.title]),
          state.board,
          { ...FRESH, data: state.data },
        ),
      );
    }
    parts.push(rowFilter(), foldAllButton());
  }
  filters.replaceChildren(...parts, themeButton());
  document.getElementById("views").replaceChildren(
    ...shownViews().map(([key, [text]]) =>
      el(
        "a",
        {
          href: address({ view: key }),
          id: `view-${key}`,
          "aria-current": key === state.view ? "page" : null,
        },
        text,
      ),
    ),
  );
}

// A view without content stands there only while the address asks for it.
function shownViews() {
  const without = new Set(["run", ...(DATA.datasets.length ? emptyViews().map(([key]) => key) : [])]);
  return Object.entries(VIEWS).filter(([key]) => key === state.view || !without.has(key));
}

function emptyPage() {
  return el(
    "section",
    {},
    el("h2", {}, "Nothing to show yet"),
    absent(
      "There is no run record that could be read. Train and score a method, then make this page again:",
      "make bench && make report",
    ),
    remarksList(),
  );
}

// Where the reader was on each address.
const places = {};
let cameFromRun = false;

function returnTo({ focused, height }) {
  document.getElementById(focused)?.focus();
  scrollTo(0, height);
}

function render() {
  state = readState();
  if (!(state.view in VIEWS)) state.view = DEFAULTS.view;
  applyTheme();
  const focused = document.activeElement?.id;
  const before = document.body.dataset.shown;
  if (before) places[before] = { focused, height: scrollY };
  drawFilters();
  const main = document.getElementById("main");
  main.querySelectorAll(".plot").forEach((plot) => plotly().purge(plot));
  if (!DATA.datasets.length) main.replaceChildren(emptyPage());
  else if (!shownRows().length) main.replaceChildren(absent("All methods are hidden; choose some under Methods."));
  else main.replaceChildren(spelledLetters(), ...[VIEWS[state.view][1]()].flat().filter(Boolean));
  drawAll();
  const here = location.hash || "#";
  // a way back from a run ends at the number one came from
  if (cameFromRun && here in places) returnTo(places[here]);
  else if (focused) document.getElementById(focused)?.focus();
  if (state.view === "run" && before && !cameFromRun) {
    scrollTo(0, 0);
    document.getElementById("back").focus();
  }
  cameFromRun = state.view === "run";
  document.body.dataset.shown = here; // tests wait for it
}

document.getElementById("made").textContent = `report of ${DATA.made.replace("T", " ").replace("+00:00", " UTC")}`;
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address belongs to the choices
  document.getElementById("main").focus();
});
// The list of methods lies over the page: a click beside it or Escape closes it.
function closeRows(event) {
  const box = document.querySelector("details.rows");
  if (!box?.open || (event.type === "click" ? box.contains(event.target) : event.key !== "Escape")) return;
  box.open = false;
  if (event.type === "keydown") document.getElementById("rows").focus();
}

addEventListener("click", closeRows);
addEventListener("keydown", closeRows);
addEventListener("hashchange", render);
darkWanted.addEventListener("change", render);
NARROW.addEventListener("change", render);
render();
