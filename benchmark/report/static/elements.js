// Elements of the page: controls, tables with their CSV, messages. Texts are set as text, never as HTML.

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// A drop-down whose choice is part of the address; options are [value, text], `more` is changed with it.
function choice(key, text, options, chosen = state[key], more = {}) {
  const list = el("select", { id: `choice-${key}`, onchange: (event) => go({ ...more, [key]: event.target.value }) });
  for (const [value, name] of options) {
    const option = el("option", { value }, clipped(name, 48));
    option.selected = value === chosen;
    list.append(option);
  }
  return el("label", {}, text, list);
}

function controls(...parts) {
  return el("div", { class: "controls" }, ...parts.filter(Boolean));
}

function subsetChoice() {
  return choice(
    "subset",
    "Subset",
    board().subsets.map((name) => [name, name]),
    board().subsets[subsetPlace()],
  );
}

function conditionChoice() {
  if (board().conditions.length < 2) return null;
  return choice(
    "condition",
    "Condition",
    board().conditions.map((name) => [name, name]),
    board().conditions[conditionPlace()],
  );
}

function rowChoice(key, text) {
  return choice(
    key,
    text,
    wantedRows().map((row) => [short(row), row.name]),
    short(chosenRow(key)),
  );
}

function note(text) {
  return el("p", { class: "note" }, text);
}

// Why there is nothing to see, and the command that changes it.
function absent(text, command) {
  const box = el("p", { class: "empty" }, text);
  if (command) box.append(" ", el("code", {}, command));
  return box;
}

function save(name, text, kind) {
  const link = el("a", { href: URL.createObjectURL(new Blob([text], { type: kind })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function csvOf(columns, rows) {
  const word = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    // a spreadsheet must not take a name for a formula
    if (/^[=+\-@\t\r]./.test(text) && Number.isNaN(Number(text))) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const head = columns.flatMap((column) => (column.parts ?? [""]).map((part) => column.title + part));
  const lines = rows.map((row) =>
    row.flatMap((cell) => cell?.parts ?? [cell?.value !== undefined ? cell.value : cell]),
  );
  return [head, ...lines].map((line) => line.map(word).join(",")).join("\n") + "\n";
}

// A cell with a spread: shown as one text, saved as several columns.
function spreadCell(value, std, more = []) {
  return { value, text: withSpread(value, std), parts: [value, std, ...more] };
}

// A number as it is, with marks between thousands.
function plainCell(value) {
  return { value, text: value === null ? "-" : value.toLocaleString("en", { maximumFractionDigits: 3 }) };
}

function fileName(name, kind) {
  return `${dataset().name}.${name}.${kind}`.replace(/[^A-Za-z0-9._+-]+/g, "_");
}

function linksOf(cell) {
  const links = cell?.links ?? [];
  return links.map(([text, href]) => {
    const away = href.startsWith("#") ? {} : { target: "_blank", rel: "noopener noreferrer" };
    return el("a", { href, class: "more", ...away }, text);
  });
}

// The text of a cell; one that leads somewhere is passed over by Tab, for its row has a link of its own.
function textOf(cell, text) {
  return cell?.href ? el("a", { href: cell.href, class: "number", tabindex: "-1" }, text) : text;
}

/* A table with a CSV button; a click on a head sorts by it.
   columns: [{title, text: left aligned, parts: endings of its CSV columns}].
   A cell is a text, a number or {value, text, parts, href}; the first of a row may have `links`, an
   element `more`, and `marked`. `saved` are the rows of the CSV, if it has more than are shown. */
function table({ title, name, columns: all, rows: whole, saved = whole, remark, folded = false }) {
  const shown = (cell) => (typeof cell === "number" ? fixed(cell) : (cell?.text ?? cell?.value ?? cell ?? "-"));
  // a column that says nothing of any row is not shown
  const said = (place) => !place || whole.some((row) => !["", "-"].includes(String(shown(row[place]))));
  const columns = all.filter((_, place) => said(place));
  const filled = (row) => row.filter((_, place) => said(place));
  const rows = whole.map(filled);
  const value = (cell) => (cell !== null && typeof cell === "object" ? cell.value : cell);
  const body = el("tbody");
  const fill = (ordered) => {
    body.replaceChildren(
      ...ordered.map((row) =>
        el(
          "tr",
          { "aria-current": row[0]?.marked ? "true" : null },
          ...row.map((cell, place) =>
            place
              ? el("td", { class: columns[place].text ? "text" : null }, textOf(cell, String(shown(cell))))
              : el("th", { scope: "row" }, String(shown(cell)), ...linksOf(cell), cell?.more ?? ""),
          ),
        ),
      ),
    );
  };
  let falling = false;
  const sortBy = (place, head) => {
    falling = head.getAttribute("aria-sort") !== "descending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const rank = (row) => value(row[place]) ?? -Infinity;
    const order = (a, b) =>
      typeof rank(a) === "string" || typeof rank(b) === "string"
        ? String(rank(a)).localeCompare(String(rank(b)))
        : rank(a) - rank(b);
    fill([...rows].sort((a, b) => (falling ? order(b, a) : order(a, b))));
  };
  const heads = columns.map((column, place) => {
    const head = el("th", { scope: "col", class: column.text || !place ? "text" : null });
    head.append(el("button", { onclick: () => sortBy(place, head), title: "sort" }, column.title));
    return head;
  });
  fill(rows);
  const wide = el(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": title },
    el("table", {}, el("thead", {}, el("tr", {}, ...heads)), body),
  );
  const tools = el(
    "div",
    { class: "tools" },
    el(
      "button",
      {
        class: "csv",
        onclick: () => save(fileName(name, "csv"), csvOf(columns, saved.map(filled)), "text/csv"),
      },
      "CSV",
      " \u2193",
    ),
  );
  const parts = [tools, wide, remark ? note(remark) : ""];
  if (folded) return el("details", {}, el("summary", {}, `Table: ${title}`), ...parts);
  return el("section", {}, el("h2", {}, title), ...parts);
}
