// Starts the page: tables at once, charts when they come into sight. Filter, theme and printer change both.
const data = JSON.parse(document.getElementById("data").textContent);
const tables = data.tables.map((content) => new Table(content, data.marks));
const charts = [...document.querySelectorAll("[data-chart]")].map(
  (element) => new Chart(element, data.figures[element.dataset.chart], data.schemes),
);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const themeButton = document.getElementById("theme");
const seen = new Set(); // charts that came into sight
let theme = null; // the reader's choice; null: the system's
let printing = false;
let unfolded = []; // for the printer

function scheme() {
  return !printing && (theme ?? (dark.matches ? "dark" : "light")) === "dark" ? "dark" : "light";
}

function applyTheme() {
  document.documentElement.dataset.theme = scheme();
  themeButton.setAttribute("aria-pressed", String(scheme() === "dark"));
  for (const chart of seen) chart.draw(scheme());
}

// A chart that was never in sight only reserves its room, so that links to sections end where they should.
function refresh(chart) {
  if (seen.has(chart)) chart.draw(scheme());
  else chart.prepare();
}

function applyFilter() {
  readFilter();
  countTrials(data.trials);
  filterArticles();
  for (const table of tables) {
    table.limit = ROWS;
    table.draw();
  }
  tellWhatIsEmpty();
  for (const chart of charts) refresh(chart);
}

function prepareToPrint() {
  printing = true;
  unfolded = [...document.querySelectorAll("main details:not([open])")];
  for (const part of unfolded) part.open = true;
  for (const table of tables) table.draw();
  for (const chart of charts) seen.add(chart);
  applyTheme();
  return Promise.allSettled(charts.map((chart) => chart.drawing));
}

for (const table of tables) {
  document.getElementById(table.isMain ? "main-tables" : "further-tables").append(table.element);
}

const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const chart = charts.find((chart) => chart.element === entry.target);
    if (!entry.isIntersecting || seen.has(chart)) continue;
    seen.add(chart);
    chart.draw(scheme());
  }
}, { rootMargin: "400px" });
for (const chart of charts) sight.observe(chart.element);

new ResizeObserver(() => {
  for (const chart of charts) if (!printing && Math.abs(chart.canvas.clientWidth - chart.width) > 20) refresh(chart);
}).observe(document.getElementById("charts"));

new ResizeObserver(() => { // a link to a section ends below the filter
  document.documentElement.style.scrollPaddingTop = `${form.offsetHeight + 16}px`;
}).observe(form);

narrow.addEventListener("change", () => tables.forEach((table) => table.draw()));
form.addEventListener("change", applyFilter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(applyFilter));
dark.addEventListener("change", applyTheme);
themeButton.addEventListener("click", () => {
  theme = scheme() === "dark" ? "light" : "dark";
  applyTheme();
});
document.getElementById("print").addEventListener("click", () => prepareToPrint().then(() => window.print()));
window.addEventListener("beforeprint", () => printing || prepareToPrint()); // a browser's own command does not wait
window.addEventListener("afterprint", () => {
  printing = false;
  for (const part of unfolded) part.open = false;
  for (const table of tables) table.draw();
  applyTheme();
});

document.documentElement.dataset.theme = scheme();
themeButton.setAttribute("aria-pressed", String(scheme() === "dark"));
applyFilter();
