// Buttons that copy the command to their left, also on pages without TLS, where browsers offer no clipboard to scripts.
"use strict";

(() => {
  const SHOWN = 2000; // milliseconds

  // Kept on the root: contents of pages are replaced while they are shown, and the buttons in them appear at once.
  document.documentElement.classList.add("ops-can-copy");

  // Selects the text in a field for the browser's own command, and gives the focus back.
  const copyBySelection = (text) => {
    const focused = document.activeElement;
    const field = document.createElement("textarea");
    field.value = text;
    field.readOnly = true;
    field.className = "ops-hidden";
    document.body.append(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    focused?.focus();
    return isCopied;
  };

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return copyBySelection(text);
    }
  };

  // Screen readers read changes of a region that exists already.
  const region = document.createElement("div");
  region.className = "ops-hidden";
  region.setAttribute("role", "status");
  region.setAttribute("aria-live", "polite");
  document.addEventListener("DOMContentLoaded", () => document.body.append(region));

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy-command]");
    if (!button) return;
    const isCopied = await copy(button.previousElementSibling.textContent.trim());
    const outcome = isCopied ? "Copied" : "Not copied";
    button.textContent = region.textContent = outcome;
    setTimeout(() => { button.textContent = "Copy"; region.textContent = ""; }, SHOWN);
  });
})();
