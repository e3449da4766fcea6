// Polls the status of a run every second until it is finished, also while the site does not answer.
"use strict";

(() => {
  const INTERVAL = 1000; // milliseconds
  const TIMEOUT = 8000;
  const UNAVAILABLE = 503; // the site answers, but not its database
  const PAGE = "[data-run-page]";

  // The standalone page follows the admin's choice of light and dark, which unfold keeps here.
  const theme = (localStorage.getItem("adminTheme") || '"auto"').replaceAll('"', "");
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  if (document.querySelector(".ops-standalone-page")) document.documentElement.classList.toggle("dark", dark);

  const run = document.querySelector("[data-status-url]");
  if (!run) return;
  const status = run.querySelector("[data-status]");
  const unreachable = run.querySelector("[data-unreachable]");
  const noDatabase = run.querySelector("[data-no-database]");
  const hide = (selector) => document.querySelectorAll(selector).forEach((element) => { element.hidden = true; });

  // Hides what a finished run does not offer. Returns whether to go on polling.
  const update = () => {
    if (status.querySelector("[data-no-cancel]")) hide("[data-cancel]");
    if (!status.querySelector("[data-finished]")) return true;
    hide("[data-while-running]");
    return false;
  };

  const get = (url) => fetch(url, { signal: AbortSignal.timeout(TIMEOUT), cache: "no-store" });

  // Replaces the status without taking the reader away from the log.
  let last = "";
  const show = (html) => {
    if (html === last) return;
    last = html;
    const log = status.querySelector(".ops-log");
    const [top, focused] = [log?.scrollTop, log === document.activeElement];
    status.innerHTML = html;
    const next = status.querySelector(".ops-log");
    if (log && next) next.scrollTop = top;
    if (log && focused) next?.focus({ preventScroll: true });
  };

  const poll = async () => {
    let answer = 0;
    try {
      const response = await get(run.dataset.statusUrl);
      answer = response.status;
      // After the session has ended, this is the page to sign in.
      if (response.ok && !response.redirected) show(await response.text());
    } catch {
      // Nothing answers.
    }
    unreachable.hidden = answer === 200 || answer === UNAVAILABLE;
    noDatabase.hidden = answer !== UNAVAILABLE;
    if (update()) setTimeout(poll, INTERVAL);
    else showEnd();
  };

  // The page of the admin shows more than the status that was polled. After a restore the user is signed out.
  const showEnd = async () => {
    const shown = document.querySelector(PAGE);
    if (!shown) return;
    try {
      const response = await get(location.href);
      if (!response.ok || response.redirected) return;
      const page = new DOMParser().parseFromString(await response.text(), "text/html").querySelector(PAGE);
      if (page) shown.replaceWith(document.adoptNode(page));
    } catch {
      // What was polled stays.
    }
  };

  if (update()) setTimeout(poll, INTERVAL);
})();
