// Figures: plotly.js with the page's colours; every figure can be saved as SVG, always on white.

// Paul Tol's bright scheme, with a yellow and a cyan that can be seen on white
const HUES = ["#4477aa", "#ee6677", "#228833", "#c0a020", "#3fb5d8", "#aa3377", "#8a8a8a"];
// light enough everywhere for dark numbers, on light and dark pages
const SCALE = [
  [0, "#fff6d8"],
  [0.5, "#a9d9b0"],
  [1, "#4fa3c7"],
];
const DIVERGING = [
  [0, "#e98a76"],
  [0.5, "#f7f7f5"],
  [1, "#6aaede"],
];
const INK = "#10151a";
// of a legend for which a phone has no room beside the figure
const BELOW = { orientation: "h", x: 0, xanchor: "left", y: -0.15, yanchor: "top" };
const DASHES = ["solid", "dash", "dot", "longdash", "dashdot", "longdashdot"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star"];
const PAPER = { text: "#1c2430", line: "#d3d9df", ground: "#ffffff" };

// The looks of a row stay the same whichever rows are hidden.
function looks(row) {
  const place = board().rows.indexOf(row);
  const round = Math.floor(place / HUES.length);
  // after all dashes each meets another symbol: no two of 252 rows look alike
  const symbol = SYMBOLS[(round + Math.floor(round / DASHES.length)) % SYMBOLS.length];
  return { color: HUES[place % HUES.length], dash: DASHES[round % DASHES.length], symbol };
}

// A row's line over `x`, with a band of one standard deviation behind it; `where` words a point.
function bandedLine(row, x, y, spread, banded, where, mode = "lines") {
  const look = looks(row);
  const line = {
    type: "scatter",
    mode,
    name: clipped(row.name),
    legendgroup: row.id,
    x,
    y,
    line: { color: look.color, dash: look.dash, width: 2.2 },
    marker: { color: look.color, symbol: look.symbol, size: 7 },
    hovertemplate: `${where}: %{y:.2f}<extra>${literal(clipped(row.name))}</extra>`,
  };
  if (!banded || spread.includes(null)) return [line];
  const upper = y.map((value, place) => value + spread[place]);
  const lower = y.map((value, place) => value - spread[place]);
  const band = {
    type: "scatter",
    mode: "none",
    x: [...x, ...[...x].reverse()],
    y: [...upper, ...lower.reverse()],
    fill: "toself",
    fillcolor: look.color + "30",
    legendgroup: row.id,
    showlegend: false,
    hoverinfo: "skip",
  };
  return [band, line];
}

// High enough for a legend with all of them, which would scroll else.
function legendHeight(rows) {
  return Math.max(440, 130 + 25 * rows.length);
}

function paint(layout, colours, ground) {
  const axis = { gridcolor: colours.line, zerolinecolor: colours.line, linecolor: colours.line, automargin: true };
  const painted = {
    margin: { l: 60, r: 20, t: 20, b: 50 },
    hoverlabel: { namelength: -1 },
    ...layout,
    legend: { tracegroupgap: 0, ...layout.legend, ...(NARROW.matches ? BELOW : {}) },
    paper_bgcolor: ground,
    plot_bgcolor: ground,
    font: { color: colours.text, size: 13 },
  };
  for (const name of ["xaxis", "yaxis"]) {
    painted[name] = { ...axis, ...layout[name] };
    if (layout[name]?.title) painted[name].title = { font: { size: 13 }, ...layout[name].title };
  }
  return painted;
}

function screenColours() {
  const style = getComputedStyle(document.documentElement);
  return { text: style.getPropertyValue("--text").trim(), line: style.getPropertyValue("--line").trim() };
}

// Plotly reads tags and entities in every text: in names they are letters. The templates are ours.
function literal(value) {
  if (typeof value === "string") return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  if (Array.isArray(value)) return value.map(literal);
  if (value === null || typeof value !== "object") return value;
  const part = ([key, inside]) => [key, key.endsWith("template") ? inside : literal(inside)];
  return Object.fromEntries(Object.entries(value).map(part));
}

// The chart library, which is run when the first figure is drawn: views without one are there sooner.
function plotly() {
  if (!window.Plotly) document.head.append(el("script", {}, document.getElementById("library").textContent));
  return window.Plotly;
}

// A figure with its SVG button; drawn when it is in the page, since plotly asks for its width.
function figure({ title, name, traces, layout, height = 420, remark }) {
  const [shown, shape] = literal([traces, layout]);
  const place = el("div", { class: "plot", role: "img", "aria-label": title, style: `height:${height}px` });
  const saveSvg = () =>
    plotly().downloadImage(
      {
        data: shown,
        layout: paint(
          { ...shape, title: { text: literal(title), font: { size: 15 } }, margin: { t: 50, l: 60, r: 20, b: 50 } },
          PAPER,
          PAPER.ground,
        ),
      },
      {
        format: "svg",
        filename: fileName(name, "svg").replace(/\.svg$/, ""),
        width: Math.max(700, place.clientWidth),
        height,
      },
    );
  drawLater.push(() =>
    plotly().newPlot(place, shown, paint(shape, screenColours(), "rgba(0,0,0,0)"), {
      responsive: true,
      displayModeBar: false,
    }),
  );
  return el(
    "section",
    {},
    el("h2", {}, title),
    remark ? note(remark) : "",
    el(
      "figure",
      {},
      el("div", { class: "tools" }, el("button", { class: "svg", onclick: saveSvg }, "SVG", " \u2193")),
      place,
    ),
  );
}

const drawLater = [];

function drawAll() {
  for (const draw of drawLater.splice(0)) draw();
}

// Colours of numbers by their place between the lowest and the highest; none for null.
function shades(values) {
  const flat = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...flat), Math.max(...flat)];
  const part = (code, at) => parseInt(code.slice(at, at + 2), 16);
  return (value) => {
    if (value === null) return "none";
    const share = high > low ? (value - low) / (high - low) : 1;
    const [[start, from], [end, to]] = share < SCALE[1][0] ? SCALE : SCALE.slice(1);
    const mixed = [1, 3, 5].map((at) => part(from, at) + ((part(to, at) - part(from, at)) * (share - start)) / (end - start));
    return `rgb(${mixed.map(Math.round).join(", ")})`;
  };
}

/* A heat map of rows x columns with its numbers in it; `middle` 0 for differences.
   values: rows x columns, null where there is none. */
function heatMap({ title, name, rows, columns, values, differences = false, digits = 1, remark, xTitle }) {
  const flat = values.flat().filter((value) => value !== null);
  const reach = Math.max(...flat.map(Math.abs), 0.01);
  const trace = {
    type: "heatmap",
    z: values,
    x: columns,
    y: rows,
    xgap: 1,
    ygap: 1,
    hoverongaps: false,
    text: values.map((line) => line.map((value) => fixed(value, digits))),
    texttemplate: columns.length <= (NARROW.matches ? 7 : 16) ? "%{text}" : undefined,
    textfont: { size: 12, color: INK },
    hovertemplate: "%{y}<br>%{x}: %{text}<extra></extra>",
    colorscale: differences ? DIVERGING : SCALE,
    ...(differences ? { zmin: -reach, zmax: reach } : {}),
    colorbar: { thickness: 12, outlinewidth: 0 },
  };
  const layout = {
    xaxis: {
      type: "category",
      side: "top",
      tickangle: columns.length > 8 ? -45 : "auto",
      showgrid: false,
      ...(xTitle && columns.length <= 8 ? { title: { text: xTitle } } : {}), // slanted names would run into it
    },
    yaxis: { type: "category", autorange: "reversed", showgrid: false, ticksuffix: " " },
    margin: { l: 60, r: 10, t: 40, b: 10 },
  };
  return figure({ title, name, traces: [trace], layout, height: 130 + 27 * rows.length, remark });
}
