// Polls the status of a run every second until it is finished, also while the site does not answer.
"use strict";

(() => {
  const INTERVAL = 1000; // milliseconds
  const TIMEOUT = 8000;

  // The standalone page follows the admin's choice of light and dark, which unfold keeps here.
  const theme = (localStorage.getItem("adminTheme") || '"auto"').replaceAll('"', "");
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  if (document.querySelector(".ops-standalone-page")) document.documentElement.classList.toggle("dark", dark);

  const run = document.querySelector("[data-status-url]");
  if (!run) return;
  const status = run.querySelector("[data-status]");
  const unreachable = run.querySelector("[data-unreachable]");
  const hide = (selector) => document.querySelectorAll(selector).forEach((element) => { element.hidden = true; });

  // Hides what a finished run does not offer. Returns whether to go on polling.
  const update = () => {
    if (status.querySelector("[data-no-cancel]")) hide("[data-cancel]");
    if (!status.querySelector("[data-finished]")) return true;
    hide("[data-while-running]");
    return false;
  };

  const poll = async () => {
    try {
      const response = await fetch(run.dataset.statusUrl, { signal: AbortSignal.timeout(TIMEOUT), cache: "no-store" });
      if (!response.ok) throw new Error(response.status);
      const html = await response.text();
      if (html.trim() !== status.innerHTML.trim()) status.innerHTML = html;
      unreachable.hidden = true;
    } catch {
      unreachable.hidden = false;
    }
    if (update()) setTimeout(poll, INTERVAL);
    // The page of this run has more to show at its end than the status that was polled.
    else if ("reloads" in run.dataset) location.reload();
  };

  if (update()) setTimeout(poll, INTERVAL);
})();
