// Polls the digest of the stores, and reloads the page when it changes. Afterwards it restores what the reader had set:
// scroll position, filters, pressed buttons, sorting, unfolded details.
"use strict";
(() => {
  const KEY = "harness-live";
  const badge = document.getElementById("live");
  const style = document.createElement("style");
  style.textContent = `#live { position: fixed; right: .5rem; bottom: .5rem; padding: .1rem .6rem; border-radius: 1rem;
    border: 1px solid; background: Canvas; color: CanvasText; font: .8rem system-ui, sans-serif; z-index: 9 }
    @media print { #live { display: none } }`;
  document.head.append(style);

  const all = (selector) => [...document.querySelectorAll(selector)];
  const controls = () => all("select, input:not([type=file]), textarea");
  const pressable = () => all("button[aria-pressed]");
  const focusable = () => all("a, button, input, select, textarea, summary, [tabindex]");
  const isTicked = (element) => element.type === "checkbox" || element.type === "radio";
  const valueOf = (element) => (isTicked(element) ? element.checked : element.value);
  const pressedOf = (element) => element.getAttribute("aria-pressed");
  const sortOf = (button) => button.parentElement.getAttribute("aria-sort");

  // Returns a name of an element that is the same after a reload, even if the element has moved.
  function nameOf(element) {
    if (isTicked(element)) return `${element.id || element.name}=${element.value}`;
    if (element.tagName === "SUMMARY") return [...folds()].find(([, fold]) => fold === element.parentElement)?.[0];
    const own = element.id || element.name;
    const around = element.closest("[role=group], table")?.getAttribute("aria-label") ?? "";
    return own || `${around}|${element.getAttribute("aria-label") ?? element.textContent}`;
  }

  // Returns name -> details element. The name is the headings above it, and a number if several have the same.
  function folds() {
    const byName = new Map();
    for (const element of all("details")) {
      const around = element.closest("article, section, form");
      const above = [...(around?.querySelectorAll("h2, h3, article > p") ?? [])].map((part) => part.textContent);
      const name = element.id || above.join("|") || around?.getAttribute("aria-label") || "";
      let turn = 0;
      while (byName.has(`${name}#${turn}`)) turn += 1;
      byName.set(`${name}#${turn}`, element);
    }
    return byName;
  }

  function say(words) { // a screen reader may read out each assignment, even of the same text
    if (badge.textContent !== words) badge.textContent = words;
  }

  function remember() {
    const state = {
      x: scrollX,
      y: scrollY,
      focus: document.activeElement === document.body ? undefined : nameOf(document.activeElement),
      controls: Object.fromEntries(controls().map((element) => [nameOf(element), valueOf(element)])),
      pressed: Object.fromEntries(pressable().map((element) => [nameOf(element), pressedOf(element)])),
      sorted: all("th[aria-sort] .sorted").map((button) => [nameOf(button), sortOf(button)]),
      unfolded: Object.fromEntries([...folds()].map(([name, element]) => [name, element.open])),
      limits: Object.fromEntries(all("[data-limit]").map((table) => [titleOf(table), Number(table.dataset.limit)])),
    };
    sessionStorage.setItem(KEY, JSON.stringify(state));
  }

  function restoreControl(element, kept) {
    const field = isTicked(element) ? "checked" : "value";
    const before = element[field];
    if (kept === undefined || kept === before) return;
    element[field] = kept;
    if (element[field] !== kept) element[field] = before; // this choice no longer exists
    for (const event of ["input", "change"]) element.dispatchEvent(new Event(event, { bubbles: true }));
  }

  function press(element, kept) {
    const isAlone = Boolean(element.id); // in a group, only the pressed button is pressed again
    if (kept !== undefined && kept !== pressedOf(element) && (isAlone || kept === "true")) element.click();
  }

  function sort([name, direction]) { // the first click sorts up, the second down; each rebuilds the heads
    for (let click = 0; click < (direction === "descending" ? 2 : 1); click += 1) {
      all("th button").find((element) => nameOf(element) === name)?.click();
    }
  }

  const titleOf = (table) => table.querySelector("[role=region]").getAttribute("aria-label");

  function showMore(table, limit) { // as many rows of a long table as before
    const more = () => table.querySelector(".rest button");
    while (Number(table.dataset.limit) < limit && more()) more().click();
  }

  function restore() {
    const kept = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    if (!kept) return;
    const state = JSON.parse(kept);
    for (const element of controls()) restoreControl(element, state.controls[nameOf(element)]);
    for (const element of pressable()) press(element, state.pressed[nameOf(element)]);
    state.sorted.forEach(sort);
    for (const table of all("[data-limit]")) showMore(table, state.limits[titleOf(table)] ?? 0);
    for (const [name, element] of folds()) element.open = state.unfolded[name] ?? element.open;
    document.activeElement?.blur();
    if (state.focus) focusable().find((element) => nameOf(element) === state.focus)?.focus({ preventScroll: true });
    holdPosition(state.x, state.y);
  }

  function holdPosition(x, y) { // charts are drawn after the page has loaded, and make it longer
    const hold = new ResizeObserver(() => scrollTo(x, y));
    const stop = () => hold.disconnect();
    hold.observe(document.documentElement);
    scrollTo(x, y);
    for (const event of ["wheel", "touchmove", "keydown", "pointerdown"]) addEventListener(event, stop, { once: true });
    setTimeout(stop, 5000);
  }

  let asking = false; // a store that is locked takes long to answer

  async function look() {
    if (document.hidden || asking) return;
    asking = true;
    try {
      const answer = await fetch("digest", { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      say("live");
      if ((await answer.text()) !== badge.dataset.digest) {
        remember();
        location.reload();
      }
    } catch {
      say("no answer");
    } finally {
      asking = false;
    }
  }

  history.scrollRestoration = "manual";
  addEventListener("load", restore);
  addEventListener("visibilitychange", look);
  setInterval(look, 2000);
})();
