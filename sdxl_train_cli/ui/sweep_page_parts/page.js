function head() {
  document.title = data.name + " - sdxl-train";
  page.append(make("div", { class: "head" }, make("h1", {}, data.name)), make("div", { class: "faint break" }, data.kind),
    make("div", { class: data.is_ranked ? "card best" : "card" },
      make("h2", {}, (data.is_ranked ? "Best: " : "") + data.headline),
      make("ul", {}, ...data.reasons.map((reason) => make("li", {}, reason)))));
}

const MANY = 60;
const ROWS = data.points.length > MANY ? 25 : MANY;

function table() {
  const row = (one) => make("tr", one.is_best ? { class: "chosen" } : {}, ...one.row.map((text) => make("td", {}, text)));
  const body = make("tbody", {}, ...data.points.slice(0, ROWS).map(row));
  const more = make("button", { type: "button" }, "Show all " + data.points.length);
  more.addEventListener("click", () => { body.append(...data.points.slice(ROWS).map(row)); more.remove(); });
  page.append(make("div", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, "Points")),
    make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, ...data.headings.map((text) => make("th", {}, text)))), body)),
    data.points.length > ROWS ? more : null,
    data.caches ? make("div", { class: "faint small" }, "Caches: " + data.caches + ".") : null));
}

function drawing(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  if (text !== undefined) node.textContent = text;
  return node;
}

function quantile(sorted, share) {
  return sorted[Math.round(share * (sorted.length - 1))];
}

// A setting against the loss. The bar is the margin of the difference to the best point; with many points, the middle
// half of those with a value.
function scatter(axis, measured) {
  const width = 420, height = 220, left = 58, right = 16, top = 12, bottom = 30, many = measured.length > MANY;
  const place = (one) => (axis.log ? Math.log(axis.places[one.at]) : axis.places[one.at]);
  const xs = axis.names ? axis.names.map((_, at) => at) : measured.map(place);
  const losses = measured.map((one) => one.loss).sort((a, b) => a - b);
  const lows = many ? losses : measured.map((one) => one.loss - (one.margin || 0));
  const cap = losses[0] + 2 * (quantile(losses, 0.9) - losses[0]);
  const highs = many ? losses.filter((loss) => loss <= cap) : measured.map((one) => one.loss + (one.margin || 0));
  const span = (values) => {
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    return [low - room, high + room];
  };
  const [x0, x1] = span(xs), [y0, y1] = many ? span([losses[0], ...highs.slice(-1)]) : span([...lows, ...highs]);
  const x = (value) => left + (value - x0) / (x1 - x0) * (width - left - right);
  const y = (value) => height - bottom - (Math.min(value, y1) - y0) / (y1 - y0) * (height - top - bottom);
  const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, class: many ? "scatter many" : "scatter", role: "img", "aria-label": axis.option + " against loss" });
  for (let part = 0; part <= 4; part += 1) {
    const value = y0 + (y1 - y0) * part / 4;
    svg.append(drawing("line", { x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      drawing("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, value.toPrecision(4)));
  }
  const marks = new Map(axis.names ? axis.names.map((name, at) => [at, name]) : measured.map((one) => [place(one), axis.texts[one.at]]));
  let last = -Infinity;
  for (const [value, text] of [...marks].sort((a, b) => a[0] - b[0])) {
    const half = text.length * 3.2;
    if (x(value) - half < last + 6) continue;
    last = x(value) + half;
    svg.append(drawing("text", { x: x(value), y: height - 8, "text-anchor": "middle" }, text));
  }
  const isFew = marks.size <= 24, room = many && isFew ? (width - left - right) / marks.size / 4 : 0;
  for (const one of [...measured].reverse()) {
    const at = x(place(one)) + (one.is_best ? 0 : room * (((one.at * 7919) % 101) / 50 - 1));
    if (one.margin && !many) svg.append(drawing("line", { class: "margin", x1: at, x2: at, y1: y(one.loss - one.margin), y2: y(one.loss + one.margin) }));
    const dot = drawing("circle", { cx: at.toFixed(1), cy: y(one.loss).toFixed(1), r: one.is_best ? 6 : many ? 2 : 4, class: one.is_best ? "best" : "" });
    if (!many || one.is_best) dot.append(drawing("title", {}, one.name + ": " + one.loss));
    svg.append(dot);
  }
  if (many && isFew) for (const value of marks.keys()) {
    const those = measured.filter((one) => place(one) === value).map((one) => one.loss).sort((a, b) => a - b);
    if (!those.length) continue;
    const at = x(value), [low, middle, high] = [0.25, 0.5, 0.75].map((share) => y(quantile(those, share)));
    svg.append(drawing("line", { class: "spread", x1: at, x2: at, y1: low, y2: high }),
      drawing("line", { class: "spread", x1: at - 7, x2: at + 7, y1: middle, y2: middle }));
  }
  const above = losses.filter((loss) => loss > y1).length;
  if (above) svg.append(drawing("text", { x: width - right, y: top - 2, "text-anchor": "end" }, above + " higher, drawn at the top"));
  return svg;
}

function settings() {
  const measured = data.points.map((one, at) => ({ ...one, at })).filter((one) => one.loss !== null);
  if (!measured.length) return;
  const grid = make("div", { class: "plots" });
  page.append(grid);
  for (const axis of data.axes) {
    grid.append(make("div", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, axis.option + " against held-back loss")), scatter(axis, measured)));
  }
  page.append(make("p", { class: "faint small" }, measured.length > MANY
    ? "A dot is a point, the large one the best. A bar is the middle half of the points with that value, its tick their median."
    : data.is_ranked
    ? "A bar is the margin of a point's difference to the best one, picture by picture: how sure its distance is, not its loss."
    : "These losses were not measured alike: don't compare their heights."));
}

function curves() {
  const drawn = data.points.filter((one) => one.steps.length);
  if (!drawn.length) return;
  const steps = [...new Set(drawn.flatMap((one) => one.steps))].sort((a, b) => a - b);
  const columns = drawn.map((one) => { const known = new Map(one.steps.map((step, at) => [step, one.losses[at]])); return steps.map((step) => known.get(step) ?? null); });
  const card = make("div", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, "Loss on held-back pictures")));
  page.append(card);
  const coloured = drawn.filter((one) => !one.is_faint).length;
  const hue = (at) => `hsl(${Math.round(at * 360 / coloured + 20) % 360} 65% 52%)`;
  const faint = (one) => line(one.name, "faint", { stroke: () => faded(colour("faint"), 0.3), width: 1, spanGaps: true, class: "left-out", points: { show: false } });
  const series = drawn.map((one, at) => one.is_faint ? faint(one) : line(one.name, "first", { stroke: () => (one.is_best ? colour("first") : hue(at)),
    width: one.is_best ? 3 : 1.5, spanGaps: true, points: { show: true, size: one.is_best ? 8 : 5 } }));
  plot(card, series, [steps, ...columns], { title: "validation loss over steps", height: 340, scales: { y: { range: range() } } });
  card.append(make("div", { class: "faint small" }, 
    [data.curves_note, "Drag to zoom, double-click to show all. A name in the legend hides its curve."].filter(Boolean).join(" ")));
}

function samples() {
  const { points, prompts, pictures, note } = data.samples;
  if (!pictures.length) return;
  const count = 1 + Math.max(...pictures.map((one) => one.prompt));
  const cell = (point, prompt) => make("td", {}, ...pictures.filter((one) => one.point === point && one.prompt === prompt)
    .map((one) => (one.source ? make("img", { src: one.source, alt: point + ", " + one.moment, title: point + ", " + one.moment }) : "unreadable")));
  const rows = Array.from({ length: count }, (_, prompt) => [
    make("tr", {}, make("td", { class: "prompt", colspan: String(points.length) }, prompts[prompt] || "prompt " + (prompt + 1))),
    make("tr", {}, ...points.map((point) => cell(point, prompt)))]).flat();
  page.append(make("div", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, data.samples.note ? "Last samples of the best points" : "Last samples of each point")),
    make("div", { class: "samples" }, make("table", {}, make("thead", {}, make("tr", {}, ...points.map((point) => make("th", {}, point)))), make("tbody", {}, ...rows))),
    make("div", { class: "faint small" }, note)));
}

head();
table();
settings();
curves();
samples();
page.append(make("footer", { class: "faint small" }, "Made " + data.made + ". Plots: uPlot, MIT licence (in this page's source)."));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach((one) => one.redraw(false, true)));
document.documentElement.dataset.plots = String(plots.length);
