// Asks for the digest of the stores; loads the page again when it has changed, and puts the reader back where they were:
// place, filters, pressed buttons, sorting, what is unfolded.
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
  const isTicked = (one) => one.type === "checkbox" || one.type === "radio";

  // What an element is called: the same before and after, wherever it has moved to.
  function nameOf(one) {
    if (isTicked(one)) return `${one.id || one.name}=${one.value}`;
    if (one.tagName === "SUMMARY") return [...folds()].find(([, fold]) => fold === one.parentElement)?.[0];
    const own = one.id || one.name;
    const around = one.closest("[role=group], table")?.getAttribute("aria-label") ?? "";
    return own || `${around}|${one.getAttribute("aria-label") ?? one.textContent}`;
  }

  // Name -> what can be unfolded: by what stands above it, and its turn where several stand under the same.
  function folds() {
    const found = new Map();
    for (const one of all("details")) {
      const around = one.closest("article, section, form");
      const above = [...(around?.querySelectorAll("h2, h3, article > p") ?? [])].map((part) => part.textContent);
      const name = one.id || above.join("|") || around?.getAttribute("aria-label") || "";
      let turn = 0;
      while (found.has(`${name}#${turn}`)) turn += 1;
      found.set(`${name}#${turn}`, one);
    }
    return found;
  }

  function say(words) { // a screen reader may read out whatever is set, even to the same
    if (badge.textContent !== words) badge.textContent = words;
  }

  function remember() {
    const state = {
      x: scrollX,
      y: scrollY,
      focus: document.activeElement === document.body ? undefined : nameOf(document.activeElement),
      controls: Object.fromEntries(controls().map((one) => [nameOf(one), isTicked(one) ? one.checked : one.value])),
      pressed: Object.fromEntries(pressable().map((one) => [nameOf(one), one.getAttribute("aria-pressed")])),
      sorted: all("th[aria-sort] .sorted").map((one) => [nameOf(one), one.parentElement.getAttribute("aria-sort")]),
      unfolded: Object.fromEntries([...folds()].map(([name, one]) => [name, one.open])),
      limits: Object.fromEntries(all("[data-limit]").map((one) => [titleOf(one), Number(one.dataset.limit)])),
    };
    sessionStorage.setItem(KEY, JSON.stringify(state));
  }

  function restoreControl(one, kept) {
    const field = isTicked(one) ? "checked" : "value";
    const before = one[field];
    if (kept === undefined || kept === before) return;
    one[field] = kept;
    if (one[field] !== kept) one[field] = before; // that choice is gone
    for (const event of ["input", "change"]) one.dispatchEvent(new Event(event, { bubbles: true }));
  }

  function press(one, kept) {
    const isAlone = Boolean(one.id); // of several in a group only the pressed one is pressed again
    if (kept !== undefined && kept !== one.getAttribute("aria-pressed") && (isAlone || kept === "true")) one.click();
  }

  function sort([name, direction]) { // the first click sorts up, the second down; each makes the heads anew
    for (let click = 0; click < (direction === "descending" ? 2 : 1); click += 1) {
      all("th button").find((one) => nameOf(one) === name)?.click();
    }
  }

  const titleOf = (table) => table.querySelector("[role=region]").getAttribute("aria-label");

  function showMore(table, limit) { // of a long table as many rows as before
    while (Number(table.dataset.limit) < limit && table.querySelector(".rest button")) table.querySelector(".rest button").click();
  }

  function restore() {
    const kept = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    if (!kept) return;
    const state = JSON.parse(kept);
    for (const one of controls()) restoreControl(one, state.controls[nameOf(one)]);
    for (const one of pressable()) press(one, state.pressed[nameOf(one)]);
    state.sorted.forEach(sort);
    for (const table of all("[data-limit]")) showMore(table, state.limits[titleOf(table)] ?? 0);
    for (const [name, one] of folds()) one.open = state.unfolded[name] ?? one.open;
    document.activeElement?.blur();
    if (state.focus) focusable().find((one) => nameOf(one) === state.focus)?.focus({ preventScroll: true });
    holdPosition(state.x, state.y);
  }

  function holdPosition(x, y) { // charts are drawn after the page is there, and make it longer
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
