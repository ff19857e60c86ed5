function head() {
  document.title = data.name + " - sdxl-train";
  page.append(
    make("div", { class: "head" }, make("h1", {}, data.name),
      make("span", { class: "state", "data-state": data.state }, data.state)),
    make("div", { class: "faint break" }, data.kind),
    make("div", { class: "faint small mono break" }, data.folder),
  );
  if (data.cause) {
    page.append(make("div", { class: "card failure" }, make("h2", {}, data.cause),
      data.remedy ? make("pre", {}, data.remedy) : null));
  }
  page.append(make("div", { class: "tiles" }, ...data.tiles.map(([name, text]) =>
    make("div", { class: "tile" }, make("b", {}, text), make("span", { class: "faint small" }, name)))));
}

function lossPlot() {
  const curves = data.curves;
  const own = curves.losses.length > 0;
  const raw = own ? curves.losses : curves.average_losses;
  if (!raw.length && !curves.odd.length) return;
  // The steps without a number may have been thinned away: they get their places back.
  const odd = new Map(curves.odd);
  const steps = [...new Set([...curves.steps, ...odd.keys()])].sort((a, b) => a - b);
  const known = new Map(curves.steps.map((step, index) => [step, raw.length ? raw[index] : null]));
  const values = steps.map((step) => (known.has(step) && !odd.has(step) ? known.get(step) : null));
  const marks = steps.map((step) => (odd.has(step) ? 0.97 : null));
  const label = own ? "loss" : "average loss";
  // From 1 step to half of the run, by equal factors: of 100 steps and of 100,000 each position is of use.
  const widest = Math.max(2, steps.length / 2);
  const usual = Math.max(3, steps.length / 40);
  const start = String(Math.min(100, Math.round(100 * Math.log(usual) / Math.log(widest))));
  const slider = make("input", { type: "range", min: "0", max: "100", step: "1", value: start, "aria-label": "smoothing" });
  const width = () => Math.pow(widest, Number(slider.value) / 100);
  const spacing = (steps[steps.length - 1] - steps[0] + 1) / steps.length; // of a very long run, not every step is here
  const shown = make("output", {});
  const whole = make("button", { type: "button" }, "Show all");
  const card = make("div", { class: "card" },
    make("div", { class: "bar" }, make("h2", {}, "Loss"), make("label", {}, "smoothed over", slider, shown), whole));
  page.append(card);
  const checked = new Map(curves.steps.map((step, index) => [step, curves.validation_losses[index] ?? null]));
  const held = curves.validation_losses.length > 0;
  const validation = steps.map((step) => checked.get(step) ?? null);
  const beside = new Map(curves.steps.map((step, index) => [step, curves.training_part_losses[index] ?? null]));
  const compared = curves.training_part_losses.length > 0;
  const trained = steps.map((step) => beside.get(step) ?? null);
  const columns = () => [
    steps, values, smoothed(values, 1 - 1 / width()), ...(held ? [validation] : []), ...(compared ? [trained] : []), ...(odd.size ? [marks] : []),
  ];
  const series = [
    line(label, "first", { stroke: () => faded(colour("first"), 0.38), width: 1, points: { size: 3, fill: () => faded(colour("first"), 0.38) } }),
    line("smoothed", "first", { width: 2.2, points: { show: false } }),
    ...(held ? [line("held-back pictures", "second", { width: 2, spanGaps: true, points: { show: true, size: 6 } })] : []),
    ...(compared ? [line("some trained pictures, measured alike", "third", { width: 2, spanGaps: true, points: { show: true, size: 6 } })] : []),
    line("not a number", "bad", {
      scale: "mark", paths: () => null, show: odd.size > 0,
      points: { show: true, size: 7, fill: () => colour("bad") }, value: (u, v, s, i) => (i === null ? "–" : odd.get(steps[i]) || "–"),
    }),
  ];
  if (!odd.size) series.pop();
  const scales = { y: { range: range() }, mark: { range: () => [0, 1] } };
  const drawn = plot(card, series, columns(), { title: "loss over steps", height: 320, scales });
  const update = () => {
    const over = Math.round(width() * spacing);
    shown.textContent = over.toLocaleString("en") + (over === 1 ? " step" : " steps");
  };
  slider.addEventListener("input", () => { update(); drawn.setData(columns(), false); drawn.redraw(true, false); });
  whole.addEventListener("click", () => plots.forEach((one) => one.setScale("x", { min: one.data[0][0], max: one.data[0].at(-1) })));
  update();
  card.append(make("div", { class: "faint small" }, "Drag to zoom, double-click to show all. ", data.curves_note));
}

function smallPlots() {
  const { steps, rates, seconds, used_gib, total_gib, watts } = data.curves;
  const grid = make("div", { class: "plots" });
  page.append(grid);
  const card = (title) => {
    const made = make("div", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, title)));
    grid.append(made);
    return made;
  };
  const named = Object.entries(rates).filter(([, column]) => column.length);
  const colours = ["first", "second", "third", "fourth"];
  if (named.length) {
    plot(card("Learning rate"), named.map(([name], index) => line(name, colours[index % 4])),
      [steps, ...named.map(([, column]) => column)], { title: "learning rate over steps", height: 200, scales: { y: { range: range(0) } } });
  }
  if (used_gib.length) {
    const total = total_gib.length ? [line("total", "bad", { dash: [6, 4], width: 1, points: { show: false } })] : [];
    plot(card("GPU memory, GB"), [line("used", "third", { fill: () => faded(colour("third"), 0.12) }), ...total],
      [steps, used_gib, ...(total.length ? [total_gib] : [])], { title: "GPU memory over steps", height: 200, scales: { y: { range: range(0) } } });
  }
  if (seconds.length) {
    plot(card("Seconds per step"), [line("s/step", "second")], [steps, seconds],
      { title: "seconds per step", height: 200, scales: { y: { range: range(0) } } });
  }
  if (watts.length) {
    plot(card("GPU power, W"), [line("W", "fourth")], [steps, watts],
      { title: "GPU power over steps", height: 200, scales: { y: { range: range(0) } } });
  }
}

function samples() {
  const { moments, prompts, pictures, note } = data.samples;
  if (!pictures.length && !note) return;
  const picture = make("img", { alt: "" });
  const words = make("p", {});
  const dialog = make("dialog", {}, picture, words);
  dialog.addEventListener("click", () => dialog.close());
  const cell = (one, prompt) => {
    const small = make("img", { src: one.source, alt: one.moment + ", " + prompt, title: one.file, tabindex: "0", role: "button" });
    const open = () => {
      picture.setAttribute("src", one.source);
      words.textContent = one.moment + " · " + prompt + " · " + one.file;
      dialog.showModal();
    };
    small.addEventListener("click", open);
    small.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
    return small;
  };
  const rows = prompts.flatMap((prompt, number) => [
    make("tr", {}, make("td", { class: "prompt", colspan: String(moments.length || 1) }, prompt)),
    make("tr", {}, ...moments.map((moment) => make("td", {}, ...pictures
      .filter((one) => one.moment === moment && one.prompt === number).map((one) => cell(one, prompt))))),
  ]);
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...moments.map((moment) => make("th", {}, moment)))),
    make("tbody", {}, ...rows));
  page.append(make("div", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, "Samples")),
    make("div", { class: "samples" }, table), make("div", { class: "faint small" }, note)), dialog);
}

function tables() {
  for (const { title, headings, rows, note, is_open } of data.tables) {
    if (!rows.length && !note) continue;
    const is_sum = (heading) => heading === "SHA-256";
    const body = rows.map((row) => make("tr", {}, ...row.map((text, index) =>
      make("td", { class: is_sum(headings[index]) ? "mono" : "" }, text))));
    const table = make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, ...headings.map((heading) => make("th", {}, heading)))), make("tbody", {}, ...body)));
    const count = rows.length > 1 ? make("span", { class: "faint" }, "  " + rows.length) : null;
    const details = make("details", is_open ? { open: "" } : {}, make("summary", {}, title, count),
      rows.length ? table : null, note ? make("div", { class: "faint small break" }, note) : null);
    page.append(make("section", { class: "card" }, details));
  }
  if (data.command) {
    page.append(make("section", { class: "card" }, make("details", {}, make("summary", {}, "Command line"),
      make("pre", { class: "command" }, data.command))));
  }
  page.append(make("footer", { class: "faint small" }, "Made " + data.made + ". Plots: uPlot, MIT licence (in this page's source)."));
}

head();
lossPlot();
if (!data.curves.steps.length && data.curves_note) page.append(make("p", { class: "faint" }, data.curves_note));
smallPlots();
samples();
tables();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach((one) => one.redraw(false, true)));
document.documentElement.dataset.plots = String(plots.length);
