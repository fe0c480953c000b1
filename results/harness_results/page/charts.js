// Charts from their specifications and rows: drawn when they come into sight, all filtered alike, saved as pictures.
const GAP = 85; // pixels beside a panel for its axis, about
const WIDEST = 1.45; // of a panel, as a multiple of its width on paper
// The rows of a chart as objects; they are kept by column.
function unpacked(columns) {
  const names = Object.keys(columns);
  const count = names.length ? columns[names[0]].length : 0;
  return Array.from({ length: count }, (_, index) => Object.fromEntries(names.map((name) => [name, columns[name][index]])));
}

class Chart {
  constructor(element, content, schemes) {
    Object.assign(this, { element, content, schemes, view: null, drawing: null, gap: GAP });
    this.canvas = element.querySelector(".canvas");
    this.empty = element.querySelector(".empty");
    for (const button of element.querySelectorAll("[data-save]")) {
      button.addEventListener("click", () => this.save(button.dataset.save));
    }
  }

  get rows() {
    this.all ??= unpacked(this.content.columns);
    return this.all.filter((row) => isShown({ ...row, ...engine(row.engine) }));
  }

  // As many panels side by side, and as wide, as there is room for.
  fitted(width) {
    const spec = structuredClone(this.content.spec);
    if (spec.spec && spec.spec.width) {
      const paper = spec.spec.width;
      spec.columns = Math.max(1, Math.min(spec.columns ?? 1, Math.floor(width / (0.8 * paper + GAP))));
      spec.spec.width = Math.min(Math.round(WIDEST * paper), Math.floor(width / spec.columns) - this.gap);
    }
    const columns = Math.max(1, Math.floor(width / 150));
    for (const legend of legends(spec)) if (legend.columns > columns) legend.columns = columns;
    return spec;
  }

  embed(place, spec, rows, scheme, extra = {}) {
    const config = { ...this.schemes[scheme], ...extra };
    const options = { ast: true, actions: false, renderer: "svg", logLevel: 1, config };
    return vegaEmbed(place, { ...spec, datasets: { rows } }, options);
  }

  draw(scheme) {
    this.drawing = this.redraw(scheme);
    return this.drawing;
  }

  async redraw(scheme) {
    const width = this.canvas.clientWidth;
    const rows = this.rows;
    this.view?.finalize();
    this.view = null;
    this.scheme = scheme;
    this.width = width;
    this.show(rows);
    if (!rows.length) return this.canvas.replaceChildren();
    await this.embedFitted(rows, scheme, width);
    if (this.canvas.scrollWidth > this.canvas.clientWidth) this.canvas.tabIndex = 0; // for the arrow keys
    else this.canvas.removeAttribute("tabindex");
  }

  // What stands beside the panels is only known once they are drawn: then they are drawn again, to fit.
  async embedFitted(rows, scheme, width) {
    for (const attempt of [1, 2]) {
      const spec = this.fitted(width);
      const panel = spec.spec?.width ?? width - this.gap;
      const header = { ...this.schemes[scheme].header, labelLimit: panel + 15 };
      const place = document.createElement("div");
      this.canvas.replaceChildren(place);
      this.view = (await this.embed(place, spec, rows, scheme, { padding: 4, background: "transparent", header })).view;
      const svg = place.querySelector("svg");
      svg.setAttribute("aria-hidden", "true");
      const spare = width - Number(svg.getAttribute("width"));
      const isWidest = panel >= Math.round(WIDEST * (this.content.spec.spec?.width ?? 0));
      if (attempt === 2 || !spec.columns || (spare >= 0 && (spare < 30 || isWidest))) return;
      this.gap = Math.max(20, this.gap - Math.floor(spare / spec.columns));
      this.view.finalize();
    }
  }

  show(rows) {
    this.empty.hidden = rows.length > 0;
    this.canvas.hidden = !rows.length;
    for (const button of this.element.querySelectorAll("[data-save]")) button.disabled = !rows.length;
  }

  async filter(scheme) {
    await this.drawing;
    const rows = this.rows;
    this.show(rows);
    if (!this.view) return this.draw(scheme);
    await this.view.data("rows", rows).resize().runAsync();
  }

  // As on paper, whatever the page looks like: light, at the width of the specification, with its title.
  async save(form) {
    const { title, spec, note } = this.content;
    const named = { ...spec, title: { text: title, ...(note ? { subtitle: [note] } : {}) } };
    const place = document.createElement("div");
    const { view, finalize } = await this.embed(place, named, this.rows, "light");
    const address = await view.toImageURL(form, 2.5);
    finalize();
    const link = make("a", { href: address, download: `${this.element.dataset.chart}.${form}` });
    document.body.append(link);
    link.click();
    link.remove();
  }
}

function* legends(part) {
  if (part === null || typeof part !== "object") return;
  for (const [name, value] of Object.entries(part)) {
    if (name === "legend" && value && value.columns) yield value;
    yield* legends(value);
  }
}
