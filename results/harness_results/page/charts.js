// Charts from their specifications and rows: drawn when they come into sight, filtered, saved as pictures.
const WIDEST = 560; // width of a panel
const SHEET = 660; // width of a chart on paper
const NARROWEST = 150; // if several are side by side
const MOST_COLUMNS = 6;
const TALLEST = 190; // height of a panel
const LOW = 130; // its height if the page is narrow
const FEW = 6; // panels of a chart if the page is narrow
const AXIS = 76; // pixels left of the first panel
const HEADING = 14; // height of a line of a panel's heading
const SYMBOL = 38; // width of a legend's entry without its words
const CHARACTER = 6.5; // width of a character of a legend's entry
const LETTER = 7.2; // width of a character of a heading
const LINE = 14; // height of a line of a legend
const AROUND = 31; // height above, between and below panels and legend

// The panels that compare something: values at two positions on their axis, or more.
function comparing(rows) {
  const positions = new Map();
  for (const { engine, panel, rung, step, lag, judged_at, length } of rows) {
    const position = rung ?? step ?? lag ?? judged_at ?? length;
    if (engine === null || position === null) continue;
    positions.set(panel, (positions.get(panel) ?? new Set()).add(position));
  }
  return new Set([...positions].filter(([, values]) => values.size > 1).map(([panel]) => panel));
}

// The rows of a chart as objects; the page stores them by column.
function unpacked(columns) {
  const names = Object.keys(columns);
  const count = names.length ? columns[names[0]].length : 0;
  return Array.from({ length: count }, (_, index) => Object.fromEntries(names.map((name) => [name, columns[name][index]])));
}

class Chart {
  constructor(element, content, schemes) {
    Object.assign(this, { element, content, schemes, view: null, drawing: null, turn: 0 });
    this.canvas = element.querySelector(".canvas");
    this.empty = element.querySelector(".empty");
    this.leftOut = element.querySelector(".left-out");
    for (const button of element.querySelectorAll("[data-save]")) {
      button.addEventListener("click", () => this.save(button.dataset.save));
    }
  }

  // The rows of the filter, in as many panels as fit, the longest T first; and a note of what is left out.
  chosen() {
    this.all ??= unpacked(this.content.columns);
    const rows = this.all.filter((row) => isShown({ ...row, ...engine(row.engine) }));
    const some = comparing(rows);
    const most = narrow.matches ? Math.min(FEW, this.content.most) : this.content.most;
    const panels = new Map();
    for (const row of rows) if (row.engine !== null && some.has(row.panel)) panels.set(row.panel, row);
    const levels = [...panels.values()].map((row) => row.level).sort((a, b) => a - b);
    const last = levels.findLast((level) => levels.lastIndexOf(level) < most) ?? levels[0];
    const inOrder = [...panels.values()].filter((row) => row.level <= last).sort((a, b) => a.order - b.order);
    const drawn = new Set(inOrder.slice(0, most).map((row) => row.panel));
    const cut = drawn.size < panels.size ? `${drawn.size} of ${panels.size} panels are drawn` : "";
    const thinned = this.content.thinned && `${this.content.thinned}, counted over all trials`;
    return { rows: rows.filter((row) => drawn.has(row.panel)), note: [thinned, cut].filter(Boolean).join("; ") };
  }

  // The specification with as many panels side by side, and as wide, as fit.
  fitted(rows, width) {
    const spec = following(structuredClone(this.content.spec), rows, width);
    const between = spec.spacing.column;
    const room = (columns) => Math.floor((width - AXIS - (columns - 1) * between) / columns) - 8;
    const panels = new Set(rows.map((row) => row.panel)).size;
    let columns = Math.min(MOST_COLUMNS, panels);
    while (columns > 1 && room(columns) < NARROWEST) columns -= 1;
    columns = Math.ceil(panels / Math.ceil(panels / columns)); // rows of about equal length
    spec.columns = columns;
    spec.spec.width = Math.max(120, Math.min(WIDEST, room(columns)));
    const ticks = spec.spec.width < 200 ? 3 : 5;
    for (const axis of parts(spec, "axis")) if (axis.tickCount && axis.grid === false) axis.tickCount = ticks;
    spec.spec.height = Math.min(narrow.matches ? LOW : TALLEST, spec.spec.height);
    return spec;
  }

  embed(element, spec, rows, scheme, extra = {}) {
    const config = { ...this.schemes[scheme], ...extra };
    const options = { ast: true, actions: false, renderer: "svg", logLevel: 1, config }; // a part may have no rows
    return vegaEmbed(element, { ...spec, datasets: { rows } }, options);
  }

  // Draws one after the other, even if a drawing failed; if several wait, only the last is drawn.
  draw(scheme) {
    const turn = (this.turn += 1);
    this.drawing = Promise.resolve(this.drawing).catch(() => {}).then(() => turn === this.turn && this.redraw(scheme));
    return this.drawing;
  }

  // Reserves the room of the next drawing, so that it moves nothing below; returns what to draw.
  prepare() {
    const width = printing ? SHEET : this.canvas.clientWidth || this.element.clientWidth;
    const { rows, note } = this.chosen();
    this.width = width;
    this.show(rows, note);
    if (!rows.length) return null;
    const spec = this.fitted(rows, width);
    const headed = rows.map((row) => ({ ...row, panel: wrapped(row.panel, spec.spec.width / LETTER) }));
    spec.spacing.row += HEADING * (headingLines(headed) - headingLines(rows));
    this.canvas.style.minHeight = `${heightOf(spec, headed)}px`;
    return { spec, headed };
  }

  async redraw(scheme) {
    this.view?.finalize();
    this.view = null;
    const prepared = this.prepare();
    if (!prepared) return this.canvas.replaceChildren();
    const { spec, headed } = prepared;
    const box = document.createElement("div");
    const header = { ...this.schemes[scheme].header, labelLimit: spec.spec.width + 10 };
    const around = { padding: 4, background: "transparent", header };
    this.view = (await this.embed(box, spec, headed, scheme, around)).view;
    box.querySelector("svg").setAttribute("aria-hidden", "true");
    this.canvas.replaceChildren(box);
    this.canvas.style.minHeight = "";
    if (this.canvas.scrollWidth > this.canvas.clientWidth) this.canvas.tabIndex = 0; // for the arrow keys
    else this.canvas.removeAttribute("tabindex");
  }

  show(rows, note) {
    this.empty.hidden = rows.length > 0;
    this.canvas.hidden = !rows.length;
    this.leftOut.hidden = !note;
    this.leftOut.replaceChildren(make("strong", {}, "Shown:"), ` ${note}.`);
    for (const button of this.element.querySelectorAll("[data-save]")) button.disabled = !rows.length;
  }

  // Saves as on paper: light, at the width of the specification, with its title.
  async save(form) {
    const { title, key } = this.content;
    const { rows, note } = this.chosen();
    const subtitle = [key, note].filter(Boolean);
    const named = { text: title, subtitle, offset: HEADING * headingLines(rows) };
    const spec = following({ ...structuredClone(this.content.spec), title: named }, rows, Infinity);
    const { view, finalize } = await this.embed(document.createElement("div"), spec, rows, "light");
    const address = await view.toImageURL(form, 2.5);
    finalize();
    const link = make("a", { href: address, download: `${this.element.dataset.chart}.${form}` });
    document.body.append(link);
    link.click();
    link.remove();
  }
}

// A heading in lines of at most this many characters, broken between settings.
function wrapped(heading, most) {
  const lines = [];
  for (const [part, isFirst] of heading.split("\n").flatMap((line) => line.split(/(?<= · )/).map((piece, n) => [piece, !n]))) {
    if (isFirst || (lines.at(-1) + part).trimEnd().length > most) lines.push(part);
    else lines[lines.length - 1] += part;
  }
  return lines.map((line) => line.replace(/ ·? ?$/, "").trimEnd()).join("\n");
}

function headingLines(rows) {
  return Math.max(...rows.map((row) => row.panel.split("\n").length));
}

// The height of a drawing, to a few pixels.
function heightOf(spec, rows) {
  const lines = Math.ceil(new Set(rows.map((row) => row.panel)).size / spec.columns);
  const entries = [...parts(spec, "legend")].map((legend) => Math.ceil(legend.values.length / legend.columns));
  return lines * (spec.spec.height + spec.spacing.row) + LINE * Math.max(0, ...entries) + AROUND;
}

// Legends name what is drawn, in as many columns as fit; ticks are at the lengths that are drawn.
function following(spec, rows, width) {
  const names = new Set(rows.flatMap((row) => [row.engine, row.cell]));
  const lengths = new Set(rows.map((row) => row.judged_at ?? row.length));
  for (const legend of parts(spec, "legend")) {
    legend.values = legend.values.filter((name) => names.has(name));
    const longest = Math.max(...legend.values.map((name) => name.length));
    const columns = Math.floor(width / (SYMBOL + CHARACTER * longest));
    legend.columns = Math.max(1, Math.min(legend.columns, columns));
  }
  for (const axis of parts(spec, "axis")) {
    if (axis.values) axis.values = axis.values.filter((length) => lengths.has(length));
  }
  return spec;
}

function* parts(part, wanted) {
  if (part === null || typeof part !== "object") return;
  for (const [name, value] of Object.entries(part)) {
    if (name === wanted && value) yield value;
    yield* parts(value, wanted);
  }
}
