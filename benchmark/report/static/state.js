"use strict";
// What the page shows: the data, and the reader's choices, which live in the address after the #.

const readJson = (id) => JSON.parse(document.getElementById(id).textContent);
const DATA = readJson("data");
const DEFAULTS = {
  view: "overview",
  data: "",
  board: "0",
  family: "",
  kind: "",
  year: "",
  hide: "",
  open: "",
  theme: "",
  subset: "",
  condition: "all",
  measure: "miou",
  against: "",
  row: "",
  from: "",
  seed: "",
  share: "truth",
  part: "0",
  cost: "",
  headline: "Average",
  curve: "val/average_miou",
  scene: "",
  scenario: "",
  damaged: "",
  trust: "ECE",
};
// Another dataset or protocol has other rows, subsets, classes and scenes.
const FRESH = Object.fromEntries(
  Object.entries(DEFAULTS).filter(([key]) => !["view", "theme", "share", "cost", "headline", "curve", "trust"].includes(key)),
);

const NARROW = matchMedia("(max-width: 600px)");

function readState() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  return Object.fromEntries(Object.entries(DEFAULTS).map(([key, value]) => [key, given[key] ?? value]));
}

let state = readState();

// The address of a state; what is as by default is left out.
function address(changes) {
  const wanted = { ...state, ...changes };
  const words = new URLSearchParams();
  for (const key of Object.keys(DEFAULTS)) if (wanted[key] !== DEFAULTS[key]) words.set(key, wanted[key]);
  return "#" + words;
}

function go(changes) {
  location.hash = address(changes);
}

// The chosen dataset, which is read when it is first shown: all of them are most of the page.
const datasets = [];

function dataset() {
  const place = Math.max(
    0,
    DATA.datasets.findIndex((entry) => entry.name === state.data),
  );
  return (datasets[place] ??= readJson(`data-${place}`));
}

function board() {
  const boards = dataset().boards;
  return boards[Number(state.board)] ?? boards[0];
}

function short(row) {
  return row.id.slice(0, 8);
}

function hidden() {
  return new Set(state.hide.split(".").filter(Boolean));
}

// By which the list of methods parts the rows.
const SORTS = { family: "Family", kind: "Kind", year: "Year" };

// The rows that the reader wants, folded ones too.
function wantedRows() {
  const off = hidden();
  const wanted = (row) => Object.keys(SORTS).every((key) => !state[key] || row[key] === state[key]);
  return board().rows.filter((row) => wanted(row) && !off.has(short(row)));
}

// Heads of families that are unfolded; `all` for every one.
function opened() {
  return new Set(state.open.split(".").filter(Boolean));
}

// Behind which head a row is folded, by the head's id; one whose head is not wanted stands for itself.
function foldedRows() {
  const [open, rows] = [opened(), wantedRows()];
  const heads = new Map(rows.filter((row) => row.head === row.id).map((row) => [row.id, row]));
  const away = (row) => row.head !== row.id && heads.has(row.head) && !open.has(short(heads.get(row.head)));
  return open.has("all") ? [] : rows.filter(away);
}

function shownRows() {
  const folded = new Set(foldedRows());
  return wantedRows().filter((row) => !folded.has(row));
}

// The chosen row, if it is wanted, else the first one.
function chosenRow(key = "row") {
  return wantedRows().find((row) => short(row) === state[key]) ?? shownRows()[0];
}

// The chosen subset's place, by default the full set.
function subsetPlace() {
  const place = board().subsets.indexOf(state.subset);
  return place < 0 ? board().subsets.length - 1 : place;
}

function conditionPlace() {
  return Math.max(0, board().conditions.indexOf(state.condition));
}

function mean(values) {
  return values.length && values.every((value) => value !== null)
    ? values.reduce((a, b) => a + b, 0) / values.length
    : null;
}

// Standard deviation over seeds (n - 1); null of a single one.
function deviation(values) {
  const middle = mean(values);
  if (middle === null || values.length < 2) return null;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

function fixed(value, digits = 2) {
  return value === null || value === undefined ? "-" : value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
}

function withSpread(value, std, digits = 2) {
  return (
    fixed(value, digits) + (value === null || std === null || std === undefined ? "" : " \u00b1 " + fixed(std, digits))
  );
}

function clipped(text, length = 34) {
  return text.length > length ? text.slice(0, length - 1) + "\u2026" : text;
}

// Measures of a subset: mIoU, mF1, OA, and each class by its place among the averaged ones.
function measures() {
  const classes = board().averaged.map((label, place) => [`class:${place}`, `IoU ${board().labels[label]}`]);
  return [["miou", "mIoU"], ["mf1", "mF1"], ["oa", "OA"], ...classes];
}

function measureName() {
  return (measures().find(([key]) => key === state.measure) ?? measures()[0])[1];
}

// Scores of a row, one per seed, in per cent.
function scores(row, measure, condition, subset) {
  const known = measures().some(([key]) => key === measure) ? measure : "miou";
  if (!known.startsWith("class:")) return row[known].map((seed) => seed[condition][subset]);
  return row.iou.map((seed) => seed[condition][subset][Number(known.slice(6))]);
}
