const items = [];
const shapes = { side: window.innerWidth < 500 ? 150 : 190 };
const number = (value) => value.toLocaleString("en");
const many = (count, one, more) => number(count) + " " + (count === 1 ? one : more || one + "s");
const percent = (share) => (share > 0 && share < 0.005 ? "under 1" : String(Math.round(share * 100))) + " %";

// Pictures have their source while they are near the window: two thousand are never decoded at once.
const near = new IntersectionObserver((seen) => {
  for (const { isIntersecting, target } of seen) {
    if (isIntersecting) target.setAttribute("src", data.sources[Number(target.dataset.card)]);
    else target.removeAttribute("src");
  }
}, { rootMargin: "1200px 0px" });

function mark(text, tone, title) {
  return make("span", Object.assign({ class: "mark" }, tone ? { "data-tone": tone } : {}, title ? { title } : {}), text);
}

function shape(width, height) {
  const drawn = make("span", { class: "shape" });
  const scale = 20 / Math.max(width, height);
  drawn.style.width = Math.max(3, Math.round(width * scale)) + "px";
  drawn.style.height = Math.max(3, Math.round(height * scale)) + "px";
  return make("span", { class: "shape-box" }, drawn);
}

function has(card, kind) {
  return card.findings.some(([at]) => data.findings[at].kind === kind);
}

// The picture as it is stored, and on it what is kept: everything outside the frame is cropped away.
function picture(card, index, tall, now) {
  const [width, height] = card.size;
  if (isUnread(card, index)) return make("div", { class: "picture unread" }, card.note || "no thumbnail");
  const box = make("div", { class: "picture" });
  box.style.aspectRatio = width + " / " + height;
  box.style.width = "min(100%, calc(" + tall + " * " + width / height + "))";
  if (data.sources[index] !== null) {
    const image = make("img", { alt: card.name, "data-card": String(index), decoding: "async" });
    if (now) image.setAttribute("src", data.sources[index]);
    else near.observe(image);
    box.append(image);
  }
  if (card.crop) {
    const [left, top, right, bottom] = card.crop;
    const frame = make("div", Object.assign({ class: "crop" }, has(card, "cropped") ? { "data-tone": "warning" } : {}));
    frame.style.left = (100 * left) / width + "%";
    frame.style.top = (100 * top) / height + "%";
    frame.style.width = (100 * (right - left)) / width + "%";
    frame.style.height = (100 * (bottom - top)) / height + "%";
    box.append(frame);
  }
  return box;
}

function isUnread(card, index) {
  return data.sources[index] === null && !card.crop;
}

function marks(card, index) {
  const found = [];
  if (card.enlarged >= 1.05) found.push(mark("enlarged " + card.enlarged.toFixed(card.enlarged < 10 ? 1 : 0) + "×", has(card, "enlarged") ? "warning" : ""));
  if (card.lost >= 0.005) found.push(mark(percent(card.lost) + " cut", has(card, "cropped") ? "warning" : ""));
  if (card.is_reg) found.push(mark("regularisation"));
  if (card.bucket === null && !isUnread(card, index)) found.push(mark(card.note, "warning"));
  if (card.caption_note && card.caption) found.push(mark("no caption of its own", "", card.caption_note));
  for (const [at, detail] of card.findings) {
    const { kind, severity, message } = data.findings[at];
    if (card.bucket === null || !["enlarged", "cropped"].includes(kind)) found.push(mark(kind, severity, detail || message));
  }
  return found;
}

function item(card, index) {
  const shot = make("button", { class: "shot", type: "button", "aria-label": "open " + card.name }, picture(card, index, "var(--side, 190px) * 1.35", false));
  shot.addEventListener("click", () => look(index));
  const signs = marks(card, index);
  const words = card.caption || "no caption";
  return make("article", { class: "item" }, shot,
    make("div", { class: "name", title: card.name }, card.name),
    card.size[0] ? make("div", { class: "size" }, card.size.join(" × ")) : null,
    signs.length ? make("div", { class: "marks" }, ...signs) : null,
    make("div", { class: card.caption ? "caption" : "caption none", dir: "auto" }, words));
}

function head() {
  document.title = data.name + " - sdxl-train dataset";
  const worst = data.findings.some((one) => one.severity === "error") ? "failed" : data.findings.length ? "odd" : "done";
  const words = data.findings.length ? many(data.findings.length, "problem") : "no problem found";
  page.append(
    make("div", { class: "head" }, make("h1", {}, data.name), make("span", { class: "state", "data-state": worst }, words)),
    make("div", { class: "faint break" }, data.kind),
    make("div", { class: "faint small mono break" }, data.folder),
    make("div", { class: "tiles" }, ...data.tiles.map(([name, text]) =>
      make("div", { class: "tile" }, make("b", {}, text), make("span", { class: "faint small" }, name)))),
    ...data.notes.map((note) => make("p", { class: "faint small" }, note)));
}

function problems() {
  if (!data.findings.length) return;
  const rows = data.findings.map((finding, index) => {
    const show = make("button", { type: "button" }, "show " + number(finding.cards));
    show.addEventListener("click", () => { tools.problem.value = String(index); filter(); tools.box.scrollIntoView(); });
    return make("div", { class: "finding" }, mark(finding.severity, finding.severity),
      make("div", {}, make("p", {}, finding.message), ...finding.others.map((file) => make("p", { class: "small mono" }, file)),
        finding.hint ? make("p", { class: "faint small" }, finding.hint) : null),
      finding.cards ? show : null);
  });
  page.append(make("section", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, "Problems")), ...rows));
}

function bars(title, headings, rows, note) {
  const most = Math.max(1, ...rows.map((row) => row.count));
  const body = rows.map(({ cells, count, tone, open }) => {
    const meter = make("span", Object.assign({ class: "meter" }, tone ? { "data-tone": tone } : {}));
    meter.style.width = (100 * count) / most + "%";
    meter.hidden = !count;
    const line = make("tr", {}, ...cells.map((cell, at) => make("td", { class: at ? "number" : "" }, cell)), make("td", { class: "wide" }, meter));
    if (open) { line.addEventListener("click", open); line.style.cursor = "pointer"; }
    return line;
  });
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...headings.map((text, at) => make("th", { class: at ? "number" : "" }, text)))),
    make("tbody", {}, ...body));
  return make("section", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, title)), make("div", { class: "scroll" }, table),
    note ? make("div", { class: "faint small" }, note) : null);
}

function charts() {
  const buckets = data.buckets.map((bucket, index) => ({
    cells: [make("span", {}, shape(bucket.width, bucket.height), " " + bucket.width + " × " + bucket.height), number(bucket.pictures), number(bucket.count), number(bucket.batches)],
    count: bucket.count,
    tone: bucket.count < bucket.batch_size ? "over" : "",
    open: () => document.getElementById("bucket-" + index).scrollIntoView(),
  }));
  const short = data.buckets.some((bucket) => bucket.count < bucket.batch_size);
  const parts = [bars("Buckets", ["", "pictures", "× repeats", "batches"], buckets, short ? "Orange: fewer pictures than a full batch." : "")];
  if (data.lengths.length) {
    const lengths = data.lengths.map(([label, count, over]) => ({ cells: [label, number(count)], count, tone: over ? "over" : "" }));
    parts.push(bars("Length of captions", [data.unit, "captions"], lengths, data.lengths.some(([, , over]) => over) ? "Orange: more than the " + data.read + " that are read." : ""));
  }
  const sizes = data.sizes.slice(0, 12).map(([width, height, count]) => ({ cells: [make("span", {}, shape(width, height), " " + width + " × " + height), number(count)], count }));
  const rest = data.sizes.length - sizes.length;
  parts.push(bars("Sizes of the files", ["", "pictures"], sizes, rest > 0 ? "and " + many(rest, "other size") : ""));
  if (data.tags.length) {
    const tags = data.tags.slice(0, 120).map(([tag, count]) => {
      const button = make("button", { type: "button", dir: "auto" }, tag + " ", make("span", { class: "faint" }, number(count)));
      button.addEventListener("click", () => { tools.search.value = tag; filter(); tools.box.scrollIntoView(); });
      return button;
    });
    const more = data.tags.length > 120 ? many(data.tags.length - 120, "further tag") + " in fewer pictures" : "";
    parts.push(make("section", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, "Tags")), make("div", { class: "tags" }, ...tags), make("div", { class: "faint small" }, more)));
  }
  page.append(make("div", { class: "charts" }, ...parts));
}

const likeness = { duplicate: "the same file", "near-duplicate": "look the same" };

function alike() {
  if (!data.alike.length) return;
  const groups = data.alike.map(({ kind, cards }) => make("div", { class: "alike" },
    make("div", { class: "faint small" }, many(cards.length, "picture") + ", " + likeness[kind]),
    make("div", { class: "pair" }, ...cards.map((index) => item(data.cards[index], index)))));
  const count = data.alike.length + data.alike_more;
  const words = (count === 1 ? "1 group" : number(count) + " groups") + " of identical or similar pictures";
  const more = data.alike_more ? make("p", { class: "faint small" }, "and " + many(data.alike_more, "more group")) : null;
  page.append(make("section", { class: "card", id: "alike" },
    make("details", { open: "" }, make("summary", {}, "Side by side ", make("span", { class: "faint" }, words)), make("div", { class: "groups" }, ...groups), more)));
}

const tools = {};

function option(value, text) {
  return make("option", { value }, text);
}

function toolbar() {
  tools.search = make("input", { type: "search", placeholder: "search names and captions", "aria-label": "search names and captions" });
  tools.problem = make("select", { "aria-label": "problem" }, option("", "all pictures"), option("any", "with any problem"), option("none", "without a problem"),
    ...data.findings.map((finding, index) => (finding.cards ? option(String(index), finding.kind + " (" + number(finding.cards) + ")") : null)).filter(Boolean));
  tools.folder = make("select", { "aria-label": "folder" }, option("", "all folders"), ...data.folders.map((folder, index) => option(String(index), folder)));
  tools.order = make("select", { "aria-label": "order" }, option("name", "by name"), option("lost", "most cropped first"), option("enlarged", "most enlarged first"), option("tokens", "longest caption first"));
  const frames = make("input", { type: "checkbox", checked: "" });
  const captions = make("input", { type: "checkbox", checked: "" });
  const size = make("input", { type: "range", min: "110", max: "420", value: String(shapes.side), "aria-label": "size of the pictures" });
  tools.count = make("output", {});
  let wait = 0;
  tools.search.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(filter, 120); });
  for (const select of [tools.problem, tools.folder]) select.addEventListener("change", filter);
  tools.order.addEventListener("change", order);
  frames.addEventListener("change", () => document.body.classList.toggle("plain", !frames.checked));
  captions.addEventListener("change", () => document.body.classList.toggle("bare", !captions.checked));
  size.addEventListener("input", () => page.style.setProperty("--side", size.value + "px"));
  tools.box = make("div", { class: "tools" }, tools.search, tools.problem, data.folders.length > 1 ? tools.folder : null, tools.order,
    make("label", {}, frames, "crop"), make("label", {}, captions, "captions"), make("label", {}, "size", size), tools.count);
  page.append(tools.box);
}

function filter() {
  const words = tools.search.value.trim().toLowerCase();
  const { value } = tools.problem;
  let shown = 0;
  for (const { card, node } of items) {
    const fits = (!words || (card.name + "\n" + card.caption).toLowerCase().includes(words))
      && (value === "" || (value === "any" ? card.findings.length > 0 : value === "none" ? !card.findings.length : card.findings.some(([at]) => at === Number(value))))
      && (tools.folder.value === "" || card.folder === Number(tools.folder.value));
    node.hidden = !fits;
    shown += fits ? 1 : 0;
  }
  // Small buckets share a row: each is as wide as its pictures.
  for (const section of document.querySelectorAll(".bucket")) {
    const inside = section.querySelectorAll(".item:not([hidden])").length;
    section.hidden = !inside;
    section.style.width = "calc(" + inside + " * (var(--side, 190px) + 12px) - 12px)";
  }
  tools.count.textContent = shown === items.length ? many(shown, "picture") : number(shown) + " of " + many(items.length, "picture");
}

function order() {
  const key = tools.order.value;
  const length = (card) => (card.tokens === null ? card.caption.length : card.tokens);
  const by = {
    name: (a, b) => a.index - b.index,
    lost: (a, b) => b.card.lost - a.card.lost || a.index - b.index,
    enlarged: (a, b) => b.card.enlarged - a.card.enlarged || a.index - b.index,
    tokens: (a, b) => length(b.card) - length(a.card) || a.index - b.index,
  }[key];
  for (const each of [...items].sort(by)) each.grid.append(each.node);
}

const buckets = make("div", { class: "buckets" });

function shelf(id, heading, cards) {
  if (!cards.length) return;
  const grid = make("div", { class: "grid" });
  for (const index of cards) {
    const node = item(data.cards[index], index);
    items.push({ card: data.cards[index], index, node, grid });
    grid.append(node);
  }
  buckets.append(make("section", { class: "bucket", id }, heading, grid));
}

function shelves() {
  const inside = new Map([...data.buckets.keys(), null].map((at) => [at, []]));
  data.cards.forEach((card, index) => inside.get(card.bucket).push(index));
  shelf("out", make("h2", {}, "In no bucket", make("span", { class: "faint" }, many(inside.get(null).length, "picture") + " that " + (inside.get(null).length === 1 ? "is" : "are") + " not trained on")), inside.get(null));
  data.buckets.forEach((bucket, at) => {
    const repeats = bucket.count === bucket.pictures ? "" : ", " + number(bucket.count) + " with repeats";
    const rest = bucket.last_batch < bucket.batch_size ? ", the last of " + bucket.last_batch : "";
    const facts = many(bucket.pictures, "picture") + repeats + " · " + many(bucket.batches, "batch", "batches") + rest;
    shelf("bucket-" + at, make("h2", {}, shape(bucket.width, bucket.height), bucket.width + " × " + bucket.height, make("span", { class: "faint" }, facts)), inside.get(at));
  });
}

const dialog = make("dialog", {});
let looked = 0;

function look(index) {
  looked = index;
  const card = data.cards[index];
  const [width, height] = card.size;
  const facts = [["file", width ? width + " × " + height : ""]];
  if (card.resized) facts.push(["resized to", card.resized.join(" × ") + (card.enlarged > 1.005 ? ", enlarged " + card.enlarged.toFixed(2) + "×" : "")]);
  if (card.bucket !== null) facts.push(["bucket", data.buckets[card.bucket].width + " × " + data.buckets[card.bucket].height]);
  if (card.crop) {
    const [left, top, right, bottom] = card.crop;
    const edges = [["left", left], ["top", top], ["right", width - right], ["bottom", height - bottom]].filter(([, cut]) => cut > 0);
    facts.push(["cut away", edges.length ? percent(card.lost) + ": " + edges.map(([edge, cut]) => cut + " px " + edge).join(", ") : "nothing"]);
  }
  facts.push(["repeats", card.bucket === null ? "" : number(card.repeats)], ["used for", card.is_reg ? "regularisation" : ""], ["folder", data.folders[card.folder]]);
  if (card.tokens !== null) facts.push(["tokens", number(card.tokens)]);
  if (card.caption_note) facts.push(["caption", card.caption_note]);
  const close = make("button", { type: "button" }, "close");
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(make("div", { class: "top" }, make("h2", {}, card.name), close),
    make("div", { class: "sides" }, picture(card, index, "72vh", true), make("div", {},
      make("dl", {}, ...facts.filter(([, text]) => text).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])),
      make("div", { class: "text", dir: "auto" }, card.caption || "no caption"),
      ...card.findings.map(([at, detail]) => make("p", {}, mark(data.findings[at].kind, data.findings[at].severity), detail ? " " + detail : "")),
      card.note && !card.findings.length ? make("p", { class: "faint small" }, card.note) : null)));
  if (!dialog.open) dialog.showModal();
}

function step(by) {
  const shown = items.filter(({ node }) => !node.hidden);
  const order = [...document.querySelectorAll(".bucket .item:not([hidden])")];
  shown.sort((a, b) => order.indexOf(a.node) - order.indexOf(b.node));
  const at = shown.findIndex(({ index }) => index === looked);
  if (shown[at + by]) look(shown[at + by].index);
}

dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => { if (event.key === "ArrowRight") step(1); if (event.key === "ArrowLeft") step(-1); });

head();
problems();
charts();
alike();
toolbar();
shelves();
page.append(buckets, dialog, make("footer", { class: "faint small" }, "Made " + data.made + ". Training uses what is inside the frame; the dark part is cropped away."));
filter();
page.style.setProperty("--side", shapes.side + "px");
document.documentElement.dataset.cards = String(items.length);
document.documentElement.dataset.drawn = String(Math.round(performance.now()));
