// The front view, for readers who know none of the terms: what is missing, who copes, at what cost.

const LEADING = 6;

// Mean over seeds of a row's mIoU with a subset, over all test scenes; null where nothing was scored.
function subsetMean(row, subset) {
  return mean(scores(row, "miou", 0, subset));
}

// The shown rows, best first, that have a score wherever any has one: an Average over fewer is another number.
function rankedRows() {
  const places = board().subsets.map((_, place) => place);
  const scored = places.filter((place) => shownRows().some((row) => subsetMean(row, place) !== null));
  return shownRows().filter((row) => scored.length && scored.every((place) => subsetMean(row, place) !== null));
}

// The address of the run behind a number, from which one comes back to this view.
function runAddress(row, subset = "") {
  return address({ view: "run", row: short(row), subset, from: state.view });
}

function scoreLink(row, value, subset, id, digits = 1) {
  return el("a", { href: runAddress(row, subset), class: "number", id }, fixed(value, digits));
}

function listed(words, last = "and") {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
}

function sensorWords(subset) {
  const words = subset.split("+").map((letter) => `${board().letters[letter] ?? letter} (${letter})`);
  return (words.length > 1 ? "" : "only ") + listed(words);
}

// The sensors of a subset as dots, empty for those that are missing.
function sensorDots(subset) {
  const there = subset.split("+");
  const letters = board().subsets.at(-1).split("+");
  const dots = letters.map((letter) => el("span", { class: there.includes(letter) ? "dot on" : "dot" }, letter));
  const missing = letters.filter((letter) => !there.includes(letter));
  const said = `${listed(there)} left${missing.length ? `, ${listed(missing)} missing` : ""}`;
  return el("span", { class: "dots", role: "img", "aria-label": said, title: said }, ...dots);
}

// Whether a row's Average may be called lower than that of the first row.
function standing(row, first) {
  if (row === first) return "first";
  const same = (pair) => [pair.first, pair.second].includes(row.id) && [pair.first, pair.second].includes(first.id);
  const pair = board().intervals.pairs.find((one) => one.measure === "Average" && same(one));
  if (pair?.verdict) return "level";
  const [[ours, spread], [theirs, other]] = [row.summary.Average, first.summary.Average];
  if (spread === null || other === null) return "open";
  return theirs - ours <= Math.hypot(spread, other) ? "level" : "behind";
}

function copingText(rows, leading) {
  const [first, ...others] = leading;
  const top = (place) => rows.reduce((best, row) => (subsetMean(row, place) > subsetMean(best, place) ? row : best));
  const places = board().subsets.map((_, place) => place).filter((place) => subsetMean(first, place) !== null);
  const best = places.map((place) => [subsetMean(top(place), place), place]).sort(([a], [b]) => a - b);
  const score = (row, place, id) => scoreLink(row, subsetMean(row, place), board().subsets[place], id);
  const [full, hardest] = [places.at(-1), best[0][1]];
  const parts = [`Best over all combinations: ${first.title}, `, scoreLink(first, first.summary.Average[0], "Average", "best-average"), ". "];
  for (const [word, text] of [
    ["level", "No difference to it can be claimed for"],
    ["open", "One seed cannot tell, so the difference to it is open for"],
  ]) {
    const found = others.filter((row) => standing(row, first) === word).map((row) => row.title);
    const all = found.length > 1 && found.length === others.length;
    if (found.length) parts.push(`${text} ${all ? "all others below" : listed(found)}. `);
  }
  parts.push(`With all sensors: ${top(full).title}, `, score(top(full), full, "best-full"), ". ");
  if (hardest !== full) {
    parts.push(`Hardest is having ${sensorWords(board().subsets[hardest])}: ${top(hardest).title} reaches `);
    parts.push(score(top(hardest), hardest, "best-hardest"), ".");
  }
  return parts;
}

// What of the table of costs a stranger asks for: [heading, value of a line], as far as it was counted.
function costKinds(lines) {
  const kinds = [...new Set(lines.flatMap((line) => Object.keys(line.values)))];
  const full = `GMAC ${board().subsets.at(-1)}`;
  const gmac = kinds.includes(full) ? full : kinds.findLast((name) => /gmac/i.test(name));
  const wanted = [
    ["million weights", kinds.find((name) => name === "parameters"), 1e-6],
    ["GMAC", gmac, 1],
    ["ms a window", kinds.find((name) => name === "latency ms"), 1],
  ];
  return wanted.filter(([, kind]) => kind).map(([text, kind, unit]) => [text, (line) => (line?.values[kind] ?? null) && line.values[kind] * unit]);
}

function costText(leading) {
  const lines = new Map(leading.map((row) => [row, costOf(row)]));
  const [weights, ...others] = costKinds([...lines.values()].filter(Boolean));
  if (!weights) return ["What the methods cost has not been counted for this dataset."];
  const counted = leading.filter((row) => weights[1](lines.get(row)) !== null);
  const words = (row) => [weights, ...others].map(([text, value]) => `${short3(value(lines.get(row)))} ${text}`);
  const least = counted.reduce((one, row) => (weights[1](lines.get(row)) < weights[1](lines.get(one)) ? row : one));
  const parts = counted.includes(leading[0]) ? [`${leading[0].title}: ${listed(words(leading[0]))}. `] : [];
  if (least !== leading[0]) {
    parts.push(`The smallest of those below, ${least.title}: ${listed(words(least))}, for an average of `);
    parts.push(scoreLink(least, least.summary.Average[0], "Average", "least-cost"), ". ");
  }
  const side = lines.get(least).values.side;
  if (others.length) parts.push(`GMAC: billions of multiplications with all sensors${side ? `, for ${side} x ${side} pixels` : ""}.`);
  return parts;
}

// Three figures of a count, however large it is.
function short3(value) {
  return value === null ? "-" : Number(value.toPrecision(3)).toLocaleString("en");
}

function leadingTable(leading) {
  const subsets = board().subsets.map((name, place) => [name, place, name.split("+").length]);
  const lines = subsets.filter(([, place]) => leading.some((row) => subsetMean(row, place) !== null));
  lines.sort((a, b) => b[2] - a[2]);
  const values = lines.flatMap(([, place]) => leading.map((row) => subsetMean(row, place)));
  const colour = shades(values);
  const worst = new Map(leading.map((row) => [row, Math.min(...lines.map(([, place]) => subsetMean(row, place)))]));
  const cell = (row, name, place) => {
    const value = subsetMean(row, place);
    const lowest = lines.length > 1 && value === worst.get(row);
    const link = scoreLink(row, value, name, `score-${short(row)}-${name}`);
    const mark = lowest ? el("span", { class: "unseen" }, " worst of this method") : "";
    return el("td", { class: lowest ? "score worst" : "score", style: `background:${colour(value)}` }, link, mark);
  };
  const heads = leading.map((row) => el("th", { scope: "col" }, el("a", { href: runAddress(row), id: `head-${short(row)}` }, row.title)));
  const line = (head, cells) => el("tr", {}, el("th", { scope: "row" }, head), ...cells);
  const costs = leading.map(costOf);
  const facts = [
    ["average", leading.map((row) => scoreLink(row, row.summary.Average[0], "Average", `score-${short(row)}-average`))],
    ["\u00b1 seeds", leading.map((row) => fixed(row.summary.Average[1], 1))],
    ["lost at worst", leading.map((row) => fixed(subsetMean(row, lines[0][1]) - worst.get(row), 1))],
    ["rank", leading.map((row) => standing(row, leading[0]))],
    ...costKinds(costs.filter(Boolean)).map(([text, value]) => [text, costs.map((cost) => short3(value(cost)))]),
  ];
  const caption = el("caption", { class: "unseen" }, "mIoU by the sensors that are left, then what the methods cost");
  const head = el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "text" }, "sensors left"), ...heads));
  const body = lines.map(([name, place]) => line(sensorDots(name), leading.map((row) => cell(row, name, place))));
  const foot = facts.map(([text, cells]) => line(text, cells.map((one) => el("td", {}, one))));
  const whole = el("table", { class: "leading" }, caption, head, el("tbody", {}, ...body), el("tbody", {}, ...foot));
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Leading methods" }, whole);
}

function card(title, ...parts) {
  return el("div", { class: "card" }, el("h3", {}, title), el("p", {}, ...parts));
}

function overviewView() {
  const rows = rankedRows();
  if (!rows.length) return absent("No row shown here has a score of every combination of sensors; see the Leaderboard.");
  const leading = rows.slice(0, LEADING);
  const letters = Object.keys(board().letters);
  const many = board().subsets.length;
  const without = shownRows().length - rows.length;
  const title = leading.length > 1 ? `The ${leading.length} that lead, by the sensors that are left` : "By the sensors that are left";
  const folded = foldedRows().length;
  return [
    el("h2", {}, `When sensors are missing: ${dataset().name}`),
    el(
      "div",
      { class: "cards words" },
      card(
        "What is missing",
        `Networks learn with ${letters.length} sensors and are tested with each of the ${many} combinations of them, ` +
          "as if the others had failed. Scores are mIoU in per cent: how far predicted and true areas overlap, " +
          "in the mean over classes.",
      ),
      card("Who copes", ...copingText(rows, leading)),
      card("At what cost", ...costText(leading)),
    ),
    el("h2", {}, title),
    leadingTable(leading),
    note(
      "A filled dot is a sensor that is there. Framed, with \u25be: the worst case of a method. Every score leads to its " +
        "run. Control: a baseline, no published method. \u00b1: standard deviation over seeds, a dash for one seed. Rank: " +
        "level where scenes or seeds do not bear out a difference to the first, open where a single seed cannot tell.",
    ),
    note(
      `${rows.length} rows are ranked, by their average` +
        `${folded ? `; ${folded} more (variants, other settings) are folded behind the row of their family` : ""}` +
        `${without ? `; ${without} without a score of some combination are not` : ""}.`,
    ),
    el("p", {}, ...furtherLinks()),
  ];
}

// Where a reader may go on, in plain words.
function furtherLinks() {
  const words = {
    leaderboard: "All rows",
    failures: "What is left when sensors fail now and then",
    sensors: "What each sensor is worth",
    damage: "Sensors that are damaged, not missing",
    cost: "Score against cost",
    pictures: "Pictures",
  };
  const there = new Set(shownViews().map(([key]) => key));
  const links = Object.entries(words).filter(([key]) => there.has(key));
  return links.flatMap(([key, text], place) => [place ? " \u00b7 " : "", el("a", { href: address({ view: key }) }, text)]);
}
