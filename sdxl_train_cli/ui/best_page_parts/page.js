function head() {
  document.title = "best of " + data.name + " - sdxl-train";
  page.append(make("div", { class: "head" }, make("h1", {}, data.name)),
    make("div", { class: "faint small mono break" }, data.folder),
    make("div", { class: "card best" }, make("h2", {}, "Best: " + data.headline),
      make("ul", {}, ...data.reasons.map((reason) => make("li", {}, reason)))));
}

function curves() {
  const { steps, held_back, training, chosen } = data.losses;
  if (!steps.length) return;
  const card = make("div", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, "Loss by validation")));
  page.append(card);
  const known = training.some((value) => value !== null);
  const marks = steps.map((step, index) => (step === chosen ? held_back[index] : null));
  const dots = { points: { show: true, size: 6 }, width: 2, spanGaps: true };
  plot(card, [
    line("held-back pictures", "second", dots),
    ...(known ? [line("some trained pictures, measured alike", "third", dots)] : []),
    line("best", "first", { paths: () => null, points: { show: true, size: 12, fill: () => colour("first") } }),
  ], [steps, held_back, ...(known ? [training] : []), marks], { title: "validation loss over steps", height: 320, scales: { y: { range: range() } } });
  card.append(make("div", { class: "faint small" }, "The same pictures, noise and timesteps each time. Drag to zoom."));
}

function weights() {
  const { places, norm, rank, moved } = data.weights;
  const grid = make("div", { class: "plots" });
  page.append(grid);
  const one = (title, values, name) => {
    if (places.length < 2 || values.every((value) => value === null)) return;
    const card = make("div", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, title)));
    grid.append(card);
    plot(card, [line(title, name, { points: { show: true, size: 6 } })], [places, values],
      { title: title + " by checkpoint", height: 200, scales: { y: { range: range() } } });
  };
  one("Norm of what is added", norm, "first");
  one("Effective rank", rank, "second");
  one("Moved since the last checkpoint", moved, "fourth");
}

function tables() {
  for (const { title, headings, rows, chosen } of data.tables) {
    if (!rows.length) continue;
    const body = rows.map((row, number) => make("tr", number === chosen ? { class: "chosen" } : {},
      ...row.map((text) => make("td", {}, text))));
    page.append(make("section", { class: "card" }, make("details", chosen === null ? {} : { open: "" }, make("summary", {}, title),
      make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...headings.map((text) => make("th", {}, text)))),
        make("tbody", {}, ...body))))));
  }
  page.append(make("section", { class: "card" }, make("h2", {}, "What would change this, or make it surer"),
    make("ul", {}, ...data.improvements.map((text) => make("li", {}, text)))));
  page.append(make("footer", { class: "faint small" }, "Made " + data.made + ". Plots: uPlot, MIT licence (in this page's source)."));
}

head();
if (data.pictures) drawnGrid(data.pictures);
curves();
weights();
tables();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach((one) => one.redraw(false, true)));
document.documentElement.dataset.plots = String(plots.length);
