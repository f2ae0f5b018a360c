"use strict";
document.documentElement.classList.add("js");
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);

// Tables: a click on a heading sorts, a second one turns the order round; empty values stay last.
const collator = new Intl.Collator(undefined, { numeric: true });
for (const table of all("table.sortable")) {
  for (const heading of all("th[data-sort]", table)) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sortBy(table, heading));
  }
}
function sortBy(table, heading) {
  const falling = heading.getAttribute("aria-sort") === "ascending";
  all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const numbers = heading.dataset.sort === "number";
  const key = (row) => {
    const cell = row.cells[heading.cellIndex];
    const text = cell.dataset.v ?? (cell.querySelector(".name") ?? cell).textContent;
    return numbers ? (text === "" ? NaN : Number(text.replaceAll(",", ""))) : text;
  };
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [key(row), row]);
  const sign = falling ? -1 : 1;
  rows.sort(([a], [b]) => {
    if (!numbers) return sign * collator.compare(a, b);
    if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);
    return sign * (a - b);
  });
  body.append(...rows.map(([, row]) => row));
}

// Filter boxes: what does not hold the text in its name is hidden.
for (const input of all("input[data-filters]")) {
  const target = byId(input.dataset.filters);
  const count = input.closest(".filter").querySelector("output");
  const items = () => all("tbody tr, [data-item]", target);
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLocaleLowerCase();
    let shown = 0;
    for (const item of items()) {
      item.hidden = !item.querySelector(".name").textContent.toLocaleLowerCase().includes(wanted);
      shown += !item.hidden;
    }
    count.textContent = wanted ? `${shown} of ${items().length}` : "";
  });
}

// Decision graphs: one of them can be made large.
for (const graph of all(".graph")) {
  const caption = graph.querySelector("figcaption .name");
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  caption.replaceWith(button);
  button.append(caption);
  const toggle = () => button.setAttribute("aria-expanded", graph.classList.toggle("large"));
  button.addEventListener("click", toggle);
  graph.querySelector(".plot").addEventListener("click", toggle);
}

// Curves: the values under the pointer.
for (const chart of all(".curve")) {
  const svg = chart.querySelector("svg");
  const { x0, x1, y0, y1 } = Object.fromEntries(Object.entries(svg.dataset).map(([key, text]) => [key, Number(text)]));
  const lines = all(".line", svg).map((path) => path.getAttribute("d").slice(1).split("L").map((at) => at.split(" ").map(Number)));
  const outputs = all(".legend output", chart);
  const step = chart.querySelector("figcaption output");
  const last = outputs.map((output) => output.textContent);
  const percent = last[0].includes("%");
  const cursor = svg.querySelector(".cursor");
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = (1000 * (event.clientX - box.left)) / box.width;
    cursor.setAttribute("d", `M${at} 0V1000`);
    lines.forEach((points, number) => {
      const near = points.reduce((best, point) => (Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best));
      const value = y1 - (near[1] / 1000) * (y1 - y0);
      const beyond = at > points.at(-1)[0] + 10 || at < points[0][0] - 10;
      outputs[number].textContent = beyond ? "–" : percent ? asPercent(value) : value.toPrecision(3);
    });
    step.textContent = `step ${Math.round(x0 + (at / 1000) * (x1 - x0)).toLocaleString("en")}`;
  });
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("d", "");
    step.textContent = "";
    outputs.forEach((output, number) => (output.textContent = last[number]));
  });
}

// Any two runs against each other.
const asPercent = (share) => `${(100 * share).toFixed(1)}\u202f%`.replace("-", "\u2212");
const asPoints = (difference) => {
  const text = (100 * Math.abs(difference)).toFixed(1);
  return difference === 0 ? text : `${difference > 0 ? "+" : "\u2212"}${text}`;
};
if (byId("errors")) {
  const data = JSON.parse(byId("errors").textContent);
  const body = byId("versus-table").tBodies[0];
  const rows = [...body.rows].sort((a, b) => a.dataset.c - b.dataset.c);
  const selects = ["pair-run", "pair-baseline", "pair-set"].map(byId);
  const show = () => {
    const [run, baseline] = selects.map((select) => select.value);
    const set = data.sets[Number(selects[2].value)];
    const errors = set.errors[run] ?? [];
    const others = set.errors[baseline] ?? [];
    const gains = rows.map((_, place) => (errors[place] == null || others[place] == null ? null : others[place] - errors[place]));
    const longest = Math.max(...gains.map((gain) => Math.abs(gain ?? 0))) || 1;
    rows.forEach((row, place) => {
      const gain = gains[place];
      row.className = gain === null ? "" : gain > 0 ? "gain" : gain < 0 ? "harm" : "even";
      row.cells[1].style.setProperty("--w", (100 * Math.abs(gain ?? 0)) / longest);
      const texts = gain === null ? ["–", "–", "–", "–"] : [asPoints(gain), asPercent(errors[place]), asPercent(others[place]), set.n[place].toLocaleString("en")];
      texts.forEach((text, number) => (row.cells[2 + number].textContent = text));
    });
    const order = rows.map((_, place) => place);
    order.sort((a, b) => (gains[a] === null) - (gains[b] === null) || gains[b] - gains[a] || a - b);
    body.append(...order.map((place) => rows[place]));
    const known = gains.filter((gain) => gain !== null);
    byId("improved").textContent = known.filter((gain) => gain > 0).length.toLocaleString("en");
    byId("fell").textContent = known.filter((gain) => gain < 0).length.toLocaleString("en");
    byId("unchanged").textContent = known.filter((gain) => gain === 0).length.toLocaleString("en");
    byId("caption-run").textContent = run;
    byId("caption-baseline").textContent = baseline;
    byId("caption-set").textContent = set.name;
  };
  selects.forEach((select) => select.addEventListener("change", show));
}
