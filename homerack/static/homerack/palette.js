// The search over everything: a dialog with a field, whose results are chosen with the arrow keys and Enter.
//
// The focus stays in the field. aria-activedescendant tells screen readers which result Enter opens.
"use strict";
(() => {
  const WAIT = 150; // milliseconds after the last key
  const FAILED = "The search failed. Type on to repeat it, or reload the page.";
  let dialog, field, results, status;
  let shown = ""; // the term of the results
  let timer = 0;
  let request = null; // the one whose answer counts
  let opensFirst = false; // Enter was pressed before the results had come

  const term = () => field.value.trim();
  const options = () => [...results.querySelectorAll("[role=option]")];
  const chosen = () => results.querySelector("[aria-selected=true]");

  function open() {
    if (dialog.open) return;
    dialog.showModal();
    field.focus();
    field.select();
    if (term()) ask(); // rows may have changed
  }

  function show(html, text) {
    results.innerHTML = html; // of HomeRack itself, in which texts of users are escaped
    status.textContent = text ?? results.firstElementChild?.dataset.status ?? "";
    const found = options();
    if (!found.length) results.replaceChildren();
    field.setAttribute("aria-expanded", String(found.length > 0));
    choose(found[0]);
  }

  function choose(option) {
    chosen()?.setAttribute("aria-selected", "false");
    if (!option) {
      field.removeAttribute("aria-activedescendant");
      return;
    }
    option.setAttribute("aria-selected", "true");
    field.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  async function ask() {
    clearTimeout(timer);
    request?.abort();
    const asked = term();
    if (!asked) {
      shown = "";
      show("", "");
      return;
    }
    const own = (request = new AbortController());
    try {
      const answer = await fetch(`${field.dataset.url}?s=${encodeURIComponent(asked)}`, { signal: own.signal });
      if (answer.redirected) return location.reload(); // the session has ended
      const html = await answer.text();
      if (own !== request) return;
      shown = asked;
      answer.ok ? show(html) : show("", FAILED);
    } catch (error) {
      if (own !== request || error.name === "AbortError") return;
      show("", FAILED);
    }
    if (opensFirst) chosen()?.click();
    opensFirst = false;
  }

  function onInput() {
    opensFirst = false;
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  }

  function onKey(event) {
    if (event.isComposing) return;
    const found = options();
    const here = found.indexOf(chosen());
    if (event.key === "Enter") {
      event.preventDefault();
      if (term() !== shown) {
        opensFirst = true;
        ask();
      } else if (chosen()) {
        event.metaKey || event.ctrlKey ? window.open(chosen().href, "_blank", "noopener") : chosen().click();
      }
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (found.length) choose(found.at((here + (event.key === "ArrowDown" ? 1 : -1)) % found.length));
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    dialog = document.getElementById("palette");
    if (!dialog) return;
    [field, results, status] = ["term", "results", "status"].map((name) => document.getElementById(`palette-${name}`));
    field.addEventListener("input", onInput);
    field.addEventListener("keydown", onKey);
    results.addEventListener("pointermove", (event) => choose(event.target.closest("[role=option]") ?? chosen()));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    document.getElementById("palette-close").addEventListener("click", () => dialog.close());
    document.getElementById("palette-open")?.addEventListener("click", open);
    addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "k" || !(event.metaKey || event.ctrlKey) || event.altKey || event.shiftKey) return;
      event.preventDefault();
      open();
    });
  });
  // A browser that goes back shows the page as it was left.
  addEventListener("pageshow", (event) => { if (event.persisted) dialog?.close(); });
})();
