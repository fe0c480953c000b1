// The values that the reader chose on each axis; an axis without a choice shows all.
const AXES = ["task", "cell", "backend", "variant", "length"];
const chosen = Object.fromEntries(AXES.map((axis) => [axis, new Set()]));
const form = document.getElementById("filter");

// Says if values (axis -> value) pass the filter; an axis without a value (null) always passes.
function isShown(values) {
  return AXES.every((axis) => {
    const value = values[axis];
    return !chosen[axis].size || value === null || value === undefined || chosen[axis].has(String(value));
  });
}

function isFiltered() {
  return AXES.some((axis) => chosen[axis].size);
}

function engine(name) {
  const [backend, variant] = name ? name.split(":") : [null, null];
  return { backend, variant };
}

function readFilter() {
  for (const axis of AXES) chosen[axis].clear();
  for (const box of form.querySelectorAll("input:checked")) chosen[box.name].add(box.value);
}

// A number as text, with commas between thousands, as in the rest of the page.
function grouped(number) {
  return number.toLocaleString("en");
}

function countTrials(trials) {
  let shown = 0;
  let all = 0;
  for (const [task, cell, backend, variant, length, number] of trials) {
    all += number;
    if (isShown({ task, cell, backend, variant, length })) shown += number;
  }
  const words = AXES.filter((axis) => chosen[axis].size).map((axis) => `${axis} ${[...chosen[axis]].join(", ")}`);
  const of = shown === all ? `all ${grouped(all)} trials` : `${grouped(shown)} of ${grouped(all)} trials`;
  document.getElementById("count").textContent = words.length ? `${of}: ${words.join(" · ")}` : of;
}

// A section says so if the filter leaves nothing in it.
function tellWhatIsEmpty() {
  for (const line of document.querySelectorAll("section > .nothing")) {
    const parts = [...line.parentElement.querySelectorAll("section.table, article")];
    line.hidden = parts.some((part) => !part.hidden);
  }
}

function filterArticles() {
  for (const article of document.querySelectorAll("article[data-task]")) {
    const { task, cell, backend, variant, length, lengths } = article.dataset;
    const at = lengths ? lengths.split(" ") : [length];
    article.hidden = !at.some((value) => isShown({ task, cell, backend, variant, length: value }));
  }
}
