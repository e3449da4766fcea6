// A form that was not saved, on any page: focus the first field with a mistake, and let the links above the form open its
// place.
"use strict";

(() => {
  const MARGIN = 150; // pixels

  // What users see of a field: select2 hides the <select> and shows a box of its own.
  const shown = (field) =>
    field.nextElementSibling?.classList.contains("select2") ? field.nextElementSibling.querySelector(".select2-selection") : field;

  // Groups of checkboxes have no id; their links lead to their errors.
  const CONTROLS = "input:not([type=hidden]), select, textarea";
  const fieldOf = (element) =>
    element.matches(CONTROLS) ? element : element.closest(`div:has(${CONTROLS})`)?.querySelector(CONTROLS) || element;

  // Open the folded parts and the tab that the element is in.
  const reveal = (element) => {
    for (let part = element.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
    const group = element.closest("[data-inline-type]");
    if (group && group.offsetParent === null)
      document.querySelector(`#tabs-items a[href="#${group.id.replace(/-group$/, "")}"]`)?.click();
  };

  const go = (element) => {
    reveal(element);
    // Alpine shows a tab in the next frame.
    requestAnimationFrame(() => {
      const target = shown(fieldOf(element));
      target.focus({ preventScroll: true });
      const { top, bottom } = target.getBoundingClientRect();
      // With its message, and not behind the buttons at the end of the window.
      if (top < 0 || bottom > innerHeight - MARGIN) target.scrollIntoView({ block: "center" });
    });
  };

  const start = () => {
    const fields = document.querySelectorAll('[aria-invalid="true"]');
    for (const field of fields) {
      const box = shown(field);
      if (box === field) continue;
      for (const name of ["aria-invalid", "aria-describedby"])
        if (field.hasAttribute(name)) box.setAttribute(name, field.getAttribute(name));
    }
    const links = document.querySelectorAll(".mistakes a");
    for (const link of links)
      link.addEventListener("click", (event) => {
        const target = document.getElementById(link.hash.slice(1));
        if (!target) return;
        event.preventDefault();
        go(target);
      });
    const first = fields[0] || (links[0] && document.getElementById(links[0].hash.slice(1)));
    if (first) go(first);
  };

  // Alpine shows the page, and jQuery then runs what makes select2's boxes, before this. Pages without such boxes have no
  // jQuery.
  addEventListener("load", () => (window.django?.jQuery ?? setTimeout)(start));
})();
