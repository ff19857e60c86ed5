const plots = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

function faded(hex, alpha) {
  return hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
}

// An exponential mean that starts without a bias towards zero; gaps stay gaps and don't move it.
function smoothed(values, weight) {
  let mean = 0;
  let seen = 0;
  return values.map((value) => {
    if (value === null) return null;
    seen += 1;
    mean = weight * mean + (1 - weight) * value;
    return mean / (1 - Math.pow(weight, seen));
  });
}

function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(2);
  return size >= 100 ? value.toFixed(1) : value.toPrecision(4);
}

function tick(value) {
  if (value === null) return "";
  const size = Math.abs(value);
  return size !== 0 && (size < 0.001 || size >= 1e6) ? value.toExponential(1).replace("e+", "e") : String(+value.toPrecision(6));
}

function line(label, stroke, more) {
  return Object.assign({ label, stroke: () => colour(stroke), width: 1.5, value: (u, v) => short(v), points: { size: 4 } }, more);
}

// One plot over the run's steps. Dragging zooms all of them, a double click shows all again.
function plot(card, series, columns, options) {
  const box = make("div", { class: "plot" });
  card.append(box);
  const axis = {
    stroke: () => colour("faint"), grid: { stroke: () => colour("grid"), width: 1 },
    ticks: { stroke: () => colour("grid"), width: 1 }, font: "12px system-ui, sans-serif",
  };
  const settings = {
    width: Math.max(260, box.clientWidth),
    height: options.height,
    cursor: { sync: { key: "run" }, drag: { x: true, y: false }, points: { size: 6 } },
    legend: { live: true },
    scales: Object.assign({ x: { time: false } }, options.scales),
    axes: [
      Object.assign({ size: 32, values: (u, splits) => splits.map((v) => (Number.isInteger(v) ? v.toLocaleString("en") : "")) }, axis),
      Object.assign({ size: 62, values: (u, splits) => splits.map(tick) }, axis),
    ],
    series: [{ label: "step", value: (u, v) => (v === null ? "–" : v.toLocaleString("en")) }, ...series],
  };
  const drawn = new uPlot(settings, columns, box);
  drawn.root.querySelector("canvas").setAttribute("aria-label", options.title);
  new ResizeObserver(() => drawn.setSize({ width: Math.max(260, box.clientWidth), height: options.height })).observe(box);
  plots.push(drawn);
  return drawn;
}

function range(low, high) {
  return (u, min, max) => {
    if (min === null || min === undefined) return [0, 1];
    const room = (max - min || Math.abs(max) || 1) * 0.06;
    return [low === undefined ? min - room : low, high === undefined ? max + room : Math.max(high, max + room)];
  };
}

