// Asks for the digest of the stores; loads the page again when it has changed, and puts the reader back where they were.
"use strict";
(() => {
  const badge = document.getElementById("live");
  const style = document.createElement("style");
  style.textContent = `#live { position: fixed; right: .5rem; bottom: .5rem; padding: .1rem .6rem; border-radius: 1rem;
    border: 1px solid; background: Canvas; color: CanvasText; font: .8rem system-ui, sans-serif; z-index: 9 }
    @media print { #live { display: none } }`;
  document.head.append(style);

  const KEY = "harness-live";
  const controls = () => [...document.querySelectorAll("select, input, textarea")].filter((one) => one.type !== "file");
  const folds = () => [...document.querySelectorAll("details")];

  function remember() {
    const values = controls().map((one) => [
      one.id || one.name, one.multiple ? [...one.selectedOptions].map((option) => option.value) : one.value, one.checked,
    ]);
    const state = { y: scrollY, x: scrollX, focus: document.activeElement?.id, values, open: folds().map((one) => one.open) };
    sessionStorage.setItem(KEY, JSON.stringify(state));
  }

  function restoreControl(one, value, checked) {
    if (one.multiple) {
      for (const option of one.options) option.selected = value.includes(option.value);
    } else if (one.type === "checkbox" || one.type === "radio") {
      one.checked = checked;
    } else {
      const before = one.value;
      one.value = value;
      if (one.value !== value) one.value = before; // the choice is gone
    }
    for (const event of ["input", "change"]) one.dispatchEvent(new Event(event, { bubbles: true }));
  }

  function restore() {
    const kept = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    if (!kept) return;
    const state = JSON.parse(kept);
    controls().forEach((one, index) => {
      const named = one.id || one.name;
      const found = state.values.find(([name], at) => (named ? name === named && (one.type !== "radio" || at === index) : at === index));
      if (found) restoreControl(one, found[1], found[2]);
    });
    folds().forEach((one, index) => { if (index in state.open) one.open = state.open[index]; });
    if (state.focus) document.getElementById(state.focus)?.focus({ preventScroll: true });
    holdPosition(state.x, state.y);
  }

  function holdPosition(x, y) { // charts are drawn after the page is there, and make it longer
    const hold = new ResizeObserver(() => scrollTo(x, y));
    hold.observe(document.documentElement);
    scrollTo(x, y);
    const stop = () => hold.disconnect();
    for (const event of ["wheel", "touchmove", "keydown", "pointerdown"]) addEventListener(event, stop, { once: true });
    setTimeout(stop, 5000);
  }

  async function look() {
    if (document.hidden) return;
    try {
      const answer = await fetch("digest", { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      badge.textContent = "live";
      if ((await answer.text()) !== badge.dataset.digest) {
        remember();
        location.reload();
      }
    } catch {
      badge.textContent = "no answer";
    }
  }

  history.scrollRestoration = "manual";
  addEventListener("load", restore);
  addEventListener("visibilitychange", look);
  setInterval(look, 2000);
})();
