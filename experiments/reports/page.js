"use strict";

/* Tables and commands can be copied, where there is no clipboard by selecting a text. */
const exact = cell => cell.dataset.value ?? cell.textContent;
const quoted = text => /[",\n\t]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;

function lines(table, separator) {
  return [...table.rows]
    .map(row => [...row.cells].map(cell => quoted(exact(cell))).join(separator))
    .join("\n") + "\n";
}

function addCopyButton(place, label, content) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", async () => {
    place.querySelector("textarea")?.remove();
    const status = place.querySelector("[role=status]");
    try {
      await navigator.clipboard.writeText(content());
      status.textContent = "Copied.";
    } catch {
      const area = document.createElement("textarea");
      area.readOnly = true;
      area.rows = 4;
      area.value = content();
      area.setAttribute("aria-label", "text to copy");
      status.textContent = "Selected: copy with Ctrl+C or ⌘C.";
      place.append(area);
      area.focus();
      area.select();
    }
  });
  place.append(button);
}

function copyTools(after, buttons) {
  const place = document.createElement("div");
  place.className = "buttons copy";
  for (const [label, content] of buttons) addCopyButton(place, label, content);
  const status = document.createElement("span");
  status.setAttribute("role", "status");
  place.append(status);
  after.append(place);
}

for (const figure of document.querySelectorAll("figure.table")) {
  const table = figure.querySelector("table");
  copyTools(figure, [
    ["Copy as CSV", () => lines(table, ",")],
    ["Copy as TSV", () => lines(table, "\t")],
  ]);
}
for (const command of document.querySelectorAll("figure.command")) {
  copyTools(command, [["Copy", () => command.querySelector("code").textContent]]);
}

/* The curves: boxes choose them, and buttons zoom. */
async function drawCurves() {
  const form = document.getElementById("curves-controls");
  if (!form) return;
  const item = JSON.parse(document.getElementById("curves-data").textContent);
  await Bokeh.embed.embed_item(item, "curves-plot");
  const found = Bokeh.documents[0];
  const model = name => found.get_model_by_name(name);
  const {data} = model("curves");
  const lags = model("lags");
  const whole = {start: lags.start, end: lags.end};
  const kinds = ["run", "rate", "window", "seed"];
  const boxes = [...form.querySelectorAll("input[type=checkbox]")];

  function chosen() {
    const out = new Set(boxes.filter(box => !box.checked).map(box => box.name + "\n" + box.value));
    return [...data.run.keys()].map(i => !kinds.some(kind => out.has(kind + "\n" + data[kind][i])));
  }

  /* From the least to the largest value of what is shown. */
  function fit(shown, column, lagColumn, range, margin) {
    let [low, high] = [Infinity, -Infinity];
    shown.forEach((is, i) => is && data[column][i].forEach((value, j) => {
      const lag = data[lagColumn][i][j];
      if (!Number.isFinite(value) || lag < lags.start || lag > lags.end) return;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }));
    if (low <= high) range.setv(margin(low, high));
  }

  function update() {
    const shown = chosen();
    model("shown").booleans = shown;
    fit(shown, "msd", "lags", model("msd-range"),
        (low, high) => ({start: low / 1.5, end: high * 1.5}));
    fit(shown, "local", "local_lags", model("local-range"),
        (low, high) => ({start: Math.min(low, 0.75) - 0.05, end: Math.max(high, 1.25) + 0.05}));
    const count = shown.filter(Boolean).length;
    document.getElementById("curves-status").textContent =
      `${count} of ${shown.length} curves are shown.`;
  }

  /* Ends are in decades. What would leave the lags there are is moved back. */
  function zoom(name) {
    const [first, last] = [Math.log10(whole.start), Math.log10(whole.end)];
    const [from, to] = [Math.log10(lags.start), Math.log10(lags.end)];
    const width = to - from;
    const [start, length] = {
      "zoom in": [from + width / 6, width * 2 / 3],
      "zoom out": [from - width / 4, width * 3 / 2],
      "smaller lags": [from - width / 4, width],
      "larger lags": [from + width / 4, width],
      "all lags": [first, last - first],
    }[name];
    const shown = Math.min(Math.max(length, 0.2), last - first);
    const begin = Math.min(Math.max(start, first), last - shown);
    lags.setv({start: 10 ** begin, end: 10 ** (begin + shown)});
    update();
  }

  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("change", update);
  form.addEventListener("click", event => {
    const {zoom: zoomed, all} = event.target.dataset;
    if (zoomed) zoom(zoomed);
    if (all) {
      for (const box of event.target.closest("fieldset").querySelectorAll("input"))
        box.checked = all === "all";
      update();
    }
  });
  if (matchMedia("(pointer: coarse)").matches)  /* a finger scrolls the page */
    for (const name of ["msd-plot", "local-plot"]) model(name).toolbar.active_drag = null;
  update();
}
drawCurves();
