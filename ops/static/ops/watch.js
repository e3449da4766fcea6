// Keeps the state of a run as new as it is: asks every second, and goes on asking while nobody answers.
"use strict";

(() => {
  const EVERY = 1000; // milliseconds
  const PATIENCE = 8000;

  // The page that stands alone follows the console's choice of light and dark, which unfold keeps here.
  const theme = (localStorage.getItem("adminTheme") || '"auto"').replaceAll('"', "");
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  if (document.querySelector(".ops-alone")) document.documentElement.classList.toggle("dark", dark);

  const watched = document.querySelector("[data-watch]");
  if (!watched) return;
  const state = watched.querySelector("[data-state]");
  const away = watched.querySelector("[data-away]");
  const hide = (selector) => document.querySelectorAll(selector).forEach((element) => { element.hidden = true; });

  const follow = () => {
    if (state.querySelector("[data-no-cancel]")) hide("[data-cancel]");
    if (!state.querySelector("[data-over]")) return true;
    hide("[data-while-running]");
    return false;
  };

  const ask = async () => {
    try {
      const answer = await fetch(watched.dataset.watch, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      const text = await answer.text();
      if (text.trim() !== state.innerHTML.trim()) state.innerHTML = text;
      away.hidden = true;
    } catch {
      away.hidden = false;
    }
    if (follow()) setTimeout(ask, EVERY);
  };

  if (follow()) setTimeout(ask, EVERY);
})();
