// Draws the pictures of a grid with sliders over checkpoints and strengths; `drawn` is a DrawnGrid.
function drawnGrid(drawn) {
  const best = drawn.places.find((place) => place.is_best) || drawn.places[drawn.places.length - 1] || { checkpoint: 0, strength: 0 };
  const shown = { checkpoint: best.checkpoint, strength: best.strength, base: false };
  const zoom = make("dialog", {});
  const controls = {};

  function at(checkpoint, strength, prompt) {
    const wanted = checkpoint === 0 ? 0 : strength;
    return drawn.pictures.filter((one) => one.checkpoint === checkpoint && one.strength === wanted && one.prompt === prompt);
  }

  function placeName(checkpoint, strength) {
    return checkpoint === 0 ? drawn.checkpoints[0] : drawn.checkpoints[checkpoint] + " at " + drawn.strengths[strength];
  }

  function slider(label, key, names, least) {
    const input = make("input", { type: "range", min: String(least), max: String(names.length - 1), step: "1", "aria-label": label, id: key });
    const output = make("output", { for: key });
    input.disabled = names.length - 1 <= least;
    input.addEventListener("input", () => { shown[key] = Number(input.value); draw(); });
    controls[key] = { input, output, names };
    return make("div", { class: "slider" }, make("label", { for: key }, label), input, output);
  }

  function panel() {
    const scores = make("dl", { class: "scores", "aria-live": "polite" });
    controls.scores = scores;
    const base = make("button", { type: "button", "aria-pressed": "false" }, "show the base model");
    base.addEventListener("click", () => { shown.base = !shown.base; draw(); });
    controls.base = base;
    page.append(make("section", { class: "card controls", "aria-label": "which pictures are shown" },
      slider("checkpoint", "checkpoint", drawn.checkpoints, drawn.checkpoints.length > 1 ? 1 : 0),
      drawn.strengths.length > 1 ? slider("strength", "strength", drawn.strengths, 0) : "",
      scores,
      make("span", { class: "small faint" }, base, "  keys: ← → checkpoint, ↑ ↓ strength, B base model, Esc closes a picture")));
  }

  function enlarge(picture, name) {
    const close = make("button", { type: "button" }, "close");
    close.addEventListener("click", () => zoom.close());
    zoom.replaceChildren(make("img", { src: picture.source, alt: name }), make("p", {}, name + " - seed " + picture.seed + " - " + picture.file), close);
    zoom.showModal();
  }

  function image(picture, name) {
    const button = make("button", { type: "button", "aria-label": "enlarge: " + name }, make("img", { src: picture.source, alt: name }));
    button.addEventListener("click", () => enlarge(picture, name));
    return button;
  }

  function figure(picture, checkpoint, prompt) {
    const name = placeName(checkpoint, picture.strength) + ", " + drawn.prompts[prompt];
    if (picture.suspected === null) return make("figure", {}, image(picture, name), make("figcaption", {}, "seed " + picture.seed));
    const copy = drawn.copies[picture.suspected];
    const beside = copy.source ? make("img", { src: copy.source, alt: "training picture " + copy.training }) : make("div", { class: "missing" }, copy.training);
    return make("figure", { class: "suspect" }, make("div", { class: "pair" }, image(picture, name), beside),
      make("figcaption", {}, "suspected copy of " + copy.training + " (right): " + copy.words + " - seed " + picture.seed));
  }

  function draw() {
    const checkpoint = shown.base ? 0 : shown.checkpoint;
    for (const key of ["checkpoint", "strength"]) {
      if (!controls[key]) continue;
      controls[key].input.value = String(shown[key]);
      controls[key].output.textContent = key === "checkpoint" ? drawn.checkpoints[checkpoint] : shown.base ? "-" : controls[key].names[shown[key]];
      controls[key].input.setAttribute("aria-valuetext", controls[key].names[shown[key]]);
    }
    controls.base.setAttribute("aria-pressed", String(shown.base));
    controls.base.textContent = shown.base ? "show the checkpoint" : "show the base model";
    const strength = checkpoint === 0 ? 0 : shown.strength;
    const place = drawn.places.find((one) => one.checkpoint === checkpoint && one.strength === strength);
    controls.scores.replaceChildren(...(place ? drawn.headings.map((heading, number) =>
      make("div", {}, make("dt", {}, heading), make("dd", {}, place.scores[number]))) : [make("div", {}, make("dt", {}, "no scores"))]),
      place && place.is_best ? make("span", { class: "kept" }, "best") : "");
    drawn.prompts.forEach((_text, prompt) => {
      const found = at(checkpoint, strength, prompt);
      controls.prompts[prompt].replaceChildren(...(found.length ? found.map((one) => figure(one, checkpoint, prompt)) : [make("div", { class: "missing" }, "not drawn")]));
    });
    for (const row of controls.rows) row.node.setAttribute("aria-current", String(row.checkpoint === checkpoint && row.strength === strength));
  }

  function prompts() {
    controls.prompts = drawn.prompts.map((text) => {
      const pictures = make("div", { class: "pictures" });
      page.append(make("section", { class: "card prompt" }, make("h2", {}, text), pictures));
      return pictures;
    });
  }

  function map() {
    controls.rows = [];
    const body = drawn.places.map((place) => {
      const go = make("button", { type: "button" }, placeName(place.checkpoint, place.strength));
      go.addEventListener("click", () => {
        shown.base = place.checkpoint === 0;
        if (!shown.base) Object.assign(shown, { checkpoint: place.checkpoint, strength: place.strength });
        draw();
        window.scrollTo({ top: 0 });
      });
      const row = make("tr", {}, make("td", {}, go, place.is_best ? make("span", { class: "kept" }, "best") : ""), ...place.scores.map((text) => make("td", {}, text)));
      controls.rows.push({ node: row, checkpoint: place.checkpoint, strength: place.strength });
      return row;
    });
    const notes = drawn.notes.map((text) => make("p", { class: "small faint break" }, text));
    page.append(make("section", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, "Scores")),
      make("div", { class: "scroll" }, make("table", { class: "map" },
        make("thead", {}, make("tr", {}, ...["checkpoint and strength", ...drawn.headings].map((text) => make("th", { scope: "col" }, text)))),
        make("tbody", {}, ...body))),
      make("p", { class: "small faint" }, "In brackets: what 90 of 100 other choices of prompts and seeds would give. Places whose ranges overlap widely can't be told apart."), ...notes));
  }

  function keys() {
    const moves = { ArrowLeft: ["checkpoint", -1], ArrowRight: ["checkpoint", 1], ArrowDown: ["strength", -1], ArrowUp: ["strength", 1] };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || zoom.open) return;
      if (event.key === "b" || event.key === "B") { shown.base = !shown.base; draw(); return; }
      const move = moves[event.key];
      if (!move || !controls[move[0]]) return;
      const input = controls[move[0]].input;
      event.preventDefault();
      shown.base = false;
      shown[move[0]] = Math.min(Number(input.max), Math.max(Number(input.min), shown[move[0]] + move[1]));
      draw();
    });
  }

  panel();
  prompts();
  map();
  page.append(zoom);
  keys();
  draw();
}

