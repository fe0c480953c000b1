// Tables from their data: filtered, sorted, some rows at a time. Texts are set as text, never as markup.
const ROWS = 100;
const NOTES = 1; // shown; the others are folded
const PAPER = 140; // characters of a table across a sheet
const GAP = 2; // characters between columns
const narrow = window.matchMedia("(max-width: 40rem)"); // one column holds all labels of a row

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// Orders numbers by size, before words; words by the alphabet, with the numbers in them by size.
function compared(a, b) {
  const [first, second] = [a, b].map((text) => (String(text).trim() ? Number(text) : NaN));
  const [isNumber, isToo] = [Number.isFinite(first), Number.isFinite(second)];
  if (isNumber && isToo) return first - second;
  if (isNumber !== isToo) return isNumber ? -1 : 1;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

class Table {
  constructor(content, marks) {
    Object.assign(this, content, { marks });
    this.sort = null; // {label} or {group, column}, and {down}
    this.measure = null; // the only column shown of each group
    this.limit = ROWS;
    this.axisValues = this.rows.map((row) => this.valuesOf(row));
    this.element = this.frame();
  }

  // The values of a row on the axes of the filter.
  valuesOf(row) {
    const label = (name) => {
      const index = this.axes.indexOf(name);
      return index < 0 ? null : row.labels[index];
    };
    return { task: this.task, cell: label("cell"), length: label("T"), ...engine(label("engine")) };
  }

  get isMain() {
    return !this.minor;
  }

  frame() {
    const box = (this.box = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `table: ${this.title}` }));
    this.rest = make("p", { class: "rest" });
    const heading = make("h3", {}, this.title);
    const parts = [this.isMain ? make("div", { class: "head" }, heading, this.picker()) : heading];
    if (this.settings) parts.push(make("p", { class: "basis" }, this.settings));
    if (this.sets.length) parts.push(make("ul", { class: "sets" }, ...this.sets.map(([letter, words]) => make("li", {}, make("b", {}, letter), ` ${words}`))));
    parts.push(box, this.rest);
    if (this.notes.length) parts.push(...this.below());
    return make("section", { class: "table" }, ...parts);
  }

  // The notes, about the whole table; a line says so while a filter is set. Only the first of many are unfolded.
  below() {
    const list = (notes) => make("ul", { class: "notes" }, ...notes.map((note) => make("li", {}, note)));
    this.whole = make("p", { class: "basis whole", hidden: "" }, "The filter does not change these notes: they are about all trials.");
    const rest = this.notes.slice(NOTES);
    if (!rest.length) return [this.whole, list(this.notes)];
    const words = rest.length === 1 ? "1 more note" : `${rest.length} more notes`;
    const more = make("details", { class: "fine" }, make("summary", {}, words), list(rest));
    return [this.whole, list(this.notes.slice(0, NOTES)), more];
  }

  picker() {
    const names = this.groups.length ? this.groups[0].columns : [];
    const group = make("div", { class: "picker", role: "group", "aria-label": `columns of ${this.title}` });
    for (const [index, name] of [[null, "all columns"], ...names.map((name, index) => [index, name])]) {
      const button = make("button", { type: "button", "aria-pressed": String(index === null) }, name);
      button.addEventListener("click", () => {
        this.measure = index;
        for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
        this.draw();
      });
      group.append(button);
    }
    return group;
  }

  // The groups and rows that pass the filter; a row needs a cell in a visible group.
  visible() {
    const groups = this.groups.map((group, index) => ({ ...group, index }))
      .filter((group) => isShown({ task: this.task, length: group.length }));
    const isThere = (row) => groups.some((group) => row.cells[group.index].length);
    const rows = this.rows.filter((row, index) => isThere(row) && (row.reference || isShown(this.axisValues[index])));
    return { groups, rows: this.sorted(rows) };
  }

  sorted(rows) {
    if (!this.sort) return rows;
    const { label, group, column, down } = this.sort;
    const key = (row) => (label === undefined ? row.values?.[group]?.[column] ?? null : row.labels[label]);
    return [...rows].sort((row, other) => {
      const [a, b] = [key(row), key(other)];
      if (row.reference || other.reference) return (other.reference ? 1 : 0) - (row.reference ? 1 : 0);
      if (a === null || b === null) return (a === null ? 1 : 0) - (b === null ? 1 : 0);
      return down ? compared(b, a) : compared(a, b);
    });
  }

  draw() {
    const { groups, rows } = this.visible();
    const some = rows.filter((row) => !row.reference);
    this.element.hidden = !isShown({ task: this.task }) || !some.length;
    if (this.element.hidden) return;
    const shown = rows.slice(0, this.limit);
    const blocks = printing ? this.blocks(groups, shown) : [groups];
    this.box.replaceChildren(...blocks.map((block) => this.block(block, shown)));
    if (this.whole) this.whole.hidden = !isFiltered();
    this.drawRest(rows.length);
  }

  // The groups that fit side by side on paper, which has no scroll bar.
  blocks(groups, rows) {
    const longest = (texts) => Math.max(...texts.map((text) => String(text).length)) + GAP;
    const labels = this.axes.map((name, index) => longest([name, ...rows.map((row) => row.labels[index])]));
    const before = labels.reduce((sum, width) => sum + width, 0);
    const blocks = [];
    let room = 0;
    for (const group of groups) {
      const width = this.columns(group).reduce((sum, column) => {
        const texts = rows.map((row) => [row.cells[group.index][column] ?? ""].flat());
        return sum + longest([group.columns[column], ...texts.map(([text, , mark]) => (mark ? `${text} ${mark}` : text))]);
      }, 0);
      if (!blocks.length || width > room) {
        blocks.push([]);
        room = PAPER - before;
      }
      blocks.at(-1).push(group);
      room -= width;
    }
    return blocks;
  }

  block(groups, rows) {
    const body = make("tbody");
    let before = null;
    for (const row of rows) {
      body.append(this.line(row, groups, before));
      before = this.sort ? null : row;
    }
    const name = `${this.title}${this.settings ? `, ${this.settings}` : ""}`;
    return make("table", { "aria-label": name }, make("thead", {}, ...this.headLines(groups)), body);
  }

  // The indices of the columns of a group that are shown.
  columns(group) {
    return this.measure === null ? group.columns.map((_, index) => index) : [this.measure];
  }

  drawRest(total) {
    const left = total - this.limit;
    this.element.dataset.limit = this.limit;
    this.rest.replaceChildren();
    this.rest.hidden = left <= 0;
    if (left <= 0) return;
    const words = `Show ${Math.min(left, 5 * ROWS)} more`;
    const button = make("button", { type: "button", "aria-label": `${words} rows of ${this.title}` }, words);
    button.addEventListener("click", () => {
      this.limit += 5 * ROWS;
      this.draw();
      (this.rest.querySelector("button") ?? this.box).focus();
    });
    this.rest.append(`The first ${grouped(this.limit)} of ${grouped(total)} rows. `, button);
  }

  headLines(groups) {
    const second = make("tr", {}, ...this.labelHeads());
    for (const group of groups) {
      this.columns(group).forEach((column, position) => {
        const of = group.length === null || !this.isMain ? {} : { "aria-label": `${group.columns[column]} at T = ${group.length}` };
        second.append(this.header(group.columns[column], { group: group.index, column }, { class: position ? "" : "first", ...of }));
      });
    }
    if (!groups.some((group) => group.length !== null && group.columns[0] !== `T=${group.length}`)) return [second];
    const top = make("tr", {}, make("td", { colspan: narrow.matches ? 1 : this.axes.length }));
    for (const group of groups) {
      top.append(make("th", { colspan: this.columns(group).length, scope: "colgroup", class: "first group" }, make("span", {}, `T = ${group.length}`)));
    }
    return [top, second];
  }

  labelHeads() {
    if (!narrow.matches) return this.axes.map((name, label) => this.header(name, { label }, { class: "label" }));
    const cell = make("th", { scope: "col", class: "label all" });
    this.axes.forEach((name, label) => cell.append(this.sorter(name, { label }, cell), " "));
    return [cell];
  }

  header(name, by, attributes) {
    const cell = make("th", { scope: "col", class: attributes.class });
    if (by.label === undefined && !this.isMain) cell.append(name);
    else cell.append(this.sorter(name, by, cell, attributes["aria-label"]));
    return cell;
  }

  // The button that sorts by a column, and the direction on its cell.
  sorter(name, by, cell, label) {
    const mine = this.sort && ["label", "group", "column"].every((key) => this.sort[key] === by[key]);
    if (mine) cell.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
    const button = make("button", { type: "button", class: mine ? "sorted" : "", "data-by": JSON.stringify(by) }, name);
    if (label) button.setAttribute("aria-label", label);
    button.addEventListener("click", () => this.sortBy(by, mine));
    return button;
  }

  // Ascending, descending, then the order of the report again.
  sortBy(by, mine) {
    if (!mine) this.sort = { ...by, down: false };
    else this.sort = this.sort.down ? null : { ...by, down: true };
    this.draw();
    this.box.querySelector(`[data-by='${JSON.stringify(by)}']`)?.focus();
  }

  line(row, groups, before) {
    const labels = narrow.matches ? [this.joined(row.labels)] : this.labels(row, before);
    const line = make("tr", row.reference ? { class: "reference" } : {}, ...labels);
    for (const group of groups) line.append(...this.entries(row.cells[group.index], group));
    return line;
  }

  joined(labels) {
    const [name, ...others] = labels.filter(Boolean);
    const around = others.length ? [make("span", { class: "others" }, others.join(" · "))] : [];
    return make("th", { class: "label all", scope: "row" }, name ?? "", ...around);
  }

  labels(row, before) {
    const last = this.axes.length - 1;
    const header = row.labels.findLastIndex(Boolean); // the last label of a reference is empty
    let same = before !== null && !row.reference;
    return row.labels.map((text, index) => {
      same = same && index < last && before.labels[index] === text;
      const kind = same ? "label again" : "label";
      return index === header ? make("th", { class: kind, scope: "row" }, text) : make("td", { class: kind }, text);
    });
  }

  entries(cells, group) {
    return this.columns(group).map((column, position) => this.entry(cells[column] ?? "", position ? "" : "first"));
  }

  entry(cell, position) {
    const [text, style, mark] = Array.isArray(cell) ? cell : [cell, "", ""];
    const element = make("td", { class: `${style} ${position}`.trim() }, text);
    if (mark) {
      const meaning = this.marks[mark] ?? "";
      element.append(" ", make("span", { "aria-hidden": "true", title: meaning }, mark));
      element.append(make("span", { class: "unseen" }, meaning.split(/[:(]/)[0]));
    }
    return element;
  }
}
