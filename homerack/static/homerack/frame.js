// Makes what unfold lets a mouse click usable with a keyboard and with a screen reader.
//
// unfold puts Alpine's click handlers on elements that cannot have the focus. This script finds them by their handlers,
// not by their place, so that it also finds those of a later version and of pages to come:
// - Each gets the role of a button, a stop of the Tab key, Enter and Space, and a name if it shows only an icon.
// - A handler such as "open = !open" belongs to a pop-up: aria-expanded says whether it is open. The keyboard moves into
//   it when it opens, arrow keys move within, Escape closes it and returns to where it was opened from.
"use strict";
(() => {
  const HANDLED = "[x-on\\:click], [\\@click], [onclick], .cursor-pointer";
  const FOCUSABLE =
    'a[href], button:not([disabled]), input:not([type="hidden"]):not([disabled]), select:not([disabled]), ' +
    'textarea:not([disabled]), summary, [tabindex]:not([tabindex="-1"])';
  const TOGGLES = /^\s*(\w+)\s*=\s*(?:!\s*\1|true)\s*;?\s*$/;
  const CHOOSES = /^\s*(?:(\w+)\s*=\s*|switchTheme\()'([^']*)'\)?\s*$/;
  const CLOSES = /^\s*(\w+)\s*=\s*false\s*$/;
  const NAMES = {
    close: "Close", delete: "Remove", dns: "Dashboard", more_horiz: "More actions", more_vert: "More actions", undo: "Undo",
    computer: "Theme", dark_mode: "Theme", light_mode: "Theme",
    visibility: "Show what is typed", visibility_off: "Hide what is typed",
  };
  // Parts of the page that stay as they are when the focus leaves them.
  const STAYS_OPEN = new Set(["sidebarDesktopOpen", "rowOpen", "navigationOpen"]);
  let opened = 0;
  const popups = []; // {toggle, name, isOpen(), open(), close(), panel()}

  const isShown = (element) => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== "hidden";
  const handlerOf = (element) => element.getAttribute("x-on:click") ?? element.getAttribute("@click") ?? "";
  const stopsOf = (element) => [...element.querySelectorAll(FOCUSABLE)].filter(isShown);

  function upgrade(element) {
    if (element.matches("a[href], button, input, select, textarea, summary, option")) return;
    if (element.dataset.frame || element.hasAttribute("contenteditable")) return;
    const isHandled = element.matches("[x-on\\:click], [\\@click], [onclick]");
    if (element.matches("label") && element.control && !element.control.closest(".hidden")) return;
    if (CLOSES.test(handlerOf(element)) && !element.textContent.trim()) return; // the backdrop of a sheet: Escape
    if (!isHandled && !element.matches("label")) {
      // It looks as if it could be clicked because of what it contains, or is contained in.
      if (element.querySelector(`${FOCUSABLE}, ${HANDLED}, label`) || element.closest(`${FOCUSABLE}, label`)) return;
      if (element.closest('[data-frame], nav:not([x-show])') || !element.classList.contains("delete-template")) return;
    }
    element.dataset.frame = "button";
    if (!element.hasAttribute("role")) element.setAttribute("role", "button");
    if (!element.hasAttribute("tabindex")) element.tabIndex = 0;
    nameIcon(element);
  }

  function nameIcon(element) {
    if (element.hasAttribute("aria-label")) return;
    const icon = element.matches(".material-symbols-outlined") ? element : element.querySelector(".material-symbols-outlined");
    if (!icon) return;
    const words = element === icon ? "" : element.textContent.replace(icon.textContent, "").trim();
    if (words) return;
    const name = element.title || NAMES[icon.textContent.trim()] || icon.textContent.trim().replaceAll("_", " ");
    const row = element.closest("tr")?.querySelector("th a, td a")?.textContent.trim();
    const field = element.closest(".form-row, .field-row, [class*='field-']")?.querySelector("label")?.textContent.trim();
    const about = row || field?.replace(/[*:\s]+$/, "");
    element.setAttribute("aria-label", about ? `${name}: ${about}` : name);
  }

  // Icons are words of a font, which a screen reader would read.
  function hideIcons(root) {
    for (const icon of root.querySelectorAll(".material-symbols-outlined:not([data-frame]):not([aria-hidden])")) {
      const control = icon.closest("a, button");
      if (control) nameIcon(control);
      icon.setAttribute("aria-hidden", "true");
    }
  }

  // select2's button has the chosen value as its name, and none while nothing is chosen.
  function nameChoice(button) {
    const field = button.closest(".select2")?.previousElementSibling;
    const label = field?.getAttribute("aria-label") ?? field?.labels?.[0]?.textContent.replace(/[*:\s]+$/, "").trim();
    const value = button.querySelector(".select2-selection__rendered");
    if (!label || !value) return;
    button.setAttribute("aria-label", label);
    button.removeAttribute("aria-labelledby");
    button.setAttribute("aria-describedby", value.id);
    value.removeAttribute("role"); // nobody can write there
    value.removeAttribute("aria-readonly");
  }

  // simplebar makes a landmark of each part that may scroll, all with one name, and a stop even where nothing scrolls.
  function nameScroller(part) {
    const heading = document.getElementById(part.closest("[aria-labelledby]")?.getAttribute("aria-labelledby"));
    const name = part.closest("#nav-sidebar") ? "Menu" : part.closest("#changelist-filter") ? "Filters"
      : heading?.textContent;
    part.setAttribute("role", "group");
    part.setAttribute("aria-label", (name ?? document.querySelector("h1")?.textContent ?? "Content").trim());
    const watch = new ResizeObserver(() => {
      const scrolls = part.scrollWidth > part.clientWidth + 1 || part.scrollHeight > part.clientHeight + 1;
      scrolls ? (part.tabIndex = 0) : part.removeAttribute("tabindex");
    });
    [part, ...part.children].forEach((element) => watch.observe(element));
  }

  // --- Pop-ups ---------------------------------------------------------------------------------------------------
  function connect(element) {
    if (element.dataset.connected || !element.isConnected) return;
    const handler = handlerOf(element);
    const toggles = TOGGLES.exec(handler);
    const chooses = CHOOSES.exec(handler);
    if (toggles && toggles[1] in Alpine.$data(element)) {
      connectToggle(element, toggles[1]);
    } else if (chooses) {
      const name = chooses[1] || "adminTheme";
      Alpine.effect(() => element.setAttribute("aria-pressed", String(Alpine.$data(element)[name] === chooses[2])));
    } else {
      return;
    }
    element.dataset.connected = "yes";
  }

  function connectToggle(toggle, name) {
    const data = Alpine.$data(toggle);
    const popup = {
      toggle, name, order: 0,
      isOpen: () => Boolean(data[name]),
      open: () => { data[name] = true; setTimeout(() => enter(popup), 60); }, // Alpine shows it in the next frames
      close: () => { data[name] = false; },
      panel: () => panelOf(toggle, name),
    };
    popups.push(popup);
    if (toggle.matches('a[href="#"]')) toggle.setAttribute("role", "button");
    Alpine.effect(() => {
      toggle.setAttribute("aria-expanded", String(Boolean(data[name])));
      if (data[name]) popup.order = ++opened;
    });
    toggle.addEventListener("click", (event) => {
      // Enter or Space on a real button.
      if (event.detail === 0) setTimeout(() => enter(popup), 60);
    });
  }

  function panelOf(toggle, name) {
    if (name.startsWith("sidebar")) return document.getElementById("nav-sidebar");
    const scope = scopeOf(toggle, name);
    const shows = (panel) => new RegExp(`\\b${name}\\b`).test(panel.getAttribute("x-show")) && scopeOf(panel, name) === scope;
    // unfold shows the actions of a phone by a class.
    const styled = (panel) => panel !== toggle && new RegExp(`\\b${name}\\b`).test(panel.getAttribute("x-bind:class"));
    const near = toggle.parentElement.querySelectorAll(":scope > [x-bind\\:class]");
    return [...document.querySelectorAll("[x-show]")].find(shows) ?? [...near].find(styled);
  }

  const scopeOf = (element, name) => Alpine.closestDataStack(element).find((data) => name in data);

  // A busy browser takes longer to show a panel, which cannot have the focus before.
  function enter(popup, tries = 40) {
    if (!popup.isOpen() || STAYS_OPEN.has(popup.name)) return;
    const panel = popup.panel();
    if (!panel || panel.contains(document.activeElement)) return;
    stopsOf(panel)[0]?.focus();
    if (tries && !panel.contains(document.activeElement)) setTimeout(() => enter(popup, tries - 1), 25);
  }

  function leave(popup) {
    popup.close();
    const toggle = isShown(popup.toggle) ? popup.toggle : popups.find((other) => other.name === popup.name && isShown(other.toggle))?.toggle;
    toggle?.focus();
  }

  // The pop-up that was opened last comes last: the account's menu in the sidebar of a phone.
  const openPopups = () =>
    popups
      .filter((popup) => popup.toggle.isConnected && popup.isOpen() && !STAYS_OPEN.has(popup.name))
      .sort((one, other) => one.order - other.order);
  const around = (element) => openPopups().reverse().find((popup) => popup.panel()?.contains(element) || popup.toggle === element);

  function onKey(event) {
    const element = event.target;
    if (event.defaultPrevented || event.isComposing || !(element instanceof Element)) return;
    if (element.closest("dialog")) return; // it closes itself, and keeps the focus
    const isPlainLink = element.matches('a[href="#"][data-connected]'); // a button in all but name
    if ((event.key === "Enter" || event.key === " ") && (element.dataset.frame === "button" || isPlainLink)) {
      event.preventDefault();
      press(element);
    } else if (event.key === "Escape") {
      const popup = around(element) ?? openPopups().at(-1);
      if (popup) { event.preventDefault(); leave(popup); }
    } else if (["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) {
      move(event, element);
    } else if (event.key === "Tab") {
      tab(event, element);
    }
  }

  // A click would also be one outside of a pop-up that is still fading away, which closes it again.
  function press(element) {
    const popup = popups.find((other) => other.toggle === element);
    if (popup) {
      popup.isOpen() ? popup.close() : popup.open();
    } else {
      element.click();
    }
  }

  function move(event, element) {
    const own = popups.find((popup) => popup.toggle === element && !STAYS_OPEN.has(popup.name));
    if (own && !own.isOpen() && event.key === "ArrowDown") {
      event.preventDefault();
      press(element);
      return;
    }
    const popup = around(element);
    if (!popup || element.matches("input, select, textarea")) return;
    const stops = stopsOf(popup.panel() ?? element);
    if (!stops.length) return;
    event.preventDefault();
    const here = stops.indexOf(element);
    const there = { ArrowDown: here + 1, ArrowUp: here < 0 ? -1 : here - 1, Home: 0, End: -1 }[event.key];
    stops.at(there % stops.length).focus();
  }

  // Beyond the last stop of a pop-up the page goes on behind its button; a menu may be elsewhere in the document.
  function tab(event, element) {
    const popup = around(element);
    if (!popup || popup.toggle === element) return;
    const stops = stopsOf(popup.panel());
    if (element === (event.shiftKey ? stops[0] : stops.at(-1))) leave(popup);
  }

  // The sidebar covers the page of a phone.
  function onClick(event) {
    const sidebar = popups.find((popup) => popup.name === "sidebarMobileOpen" && popup.isOpen());
    if (!sidebar || !(event.target instanceof Element)) return;
    const isToggle = popups.some((popup) => popup.name === sidebar.name && popup.toggle.contains(event.target));
    const isInside = sidebar.panel()?.contains(event.target);
    if (!isToggle && (!isInside || event.target.closest("a[href]"))) sidebar.close();
  }

  // Until Alpine has started the page is hidden, and a hidden field cannot have the focus that it asks for. A field with a
  // mistake comes first (mistakes.js).
  function begin() {
    const field = document.querySelector("[autofocus]");
    if (!field || document.activeElement !== document.body || document.querySelector('[aria-invalid="true"]')) return;
    // After a wrong password the address is there already.
    const password = field.type !== "password" && field.value && field.form?.querySelector('[type="password"]');
    (password || field).focus();
  }

  // --- Start -----------------------------------------------------------------------------------------------------
  function prepare(root) {
    const found = [...root.querySelectorAll(HANDLED)];
    if (root instanceof Element && root.matches(HANDLED)) found.push(root);
    found.forEach(upgrade);
    hideIcons(root);
    for (const { dataset } of root.querySelectorAll("td[data-label], th[data-label]")) {
      dataset.label = dataset.label.charAt(0).toUpperCase() + dataset.label.slice(1); // as the heads of the columns
    }
    root.querySelectorAll(".select2-selection--single").forEach(nameChoice);
    root.querySelectorAll(".simplebar-content-wrapper[role=region]").forEach(nameScroller);
    for (const field of root.querySelectorAll(".select2-search__field:not([aria-label])")) {
      const label = field.closest(".select2")?.previousElementSibling?.labels?.[0]?.textContent.trim();
      field.setAttribute("aria-label", label || "Search");
    }
    if (document.documentElement.dataset.alpine) found.filter((element) => handlerOf(element)).forEach(connect);
  }

  document.addEventListener("alpine:initialized", () => {
    document.documentElement.dataset.alpine = "ready";
    prepare(document);
    setTimeout(begin); // Alpine shows the page in its next step
  });
  document.addEventListener("DOMContentLoaded", () => {
    prepare(document);
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) for (const node of addedNodes) if (node instanceof Element) prepare(node);
    }).observe(document.body, { childList: true, subtree: true });
  });
  // Before the handlers of a panel: one that closes it does not know where the focus belongs.
  document.addEventListener("keydown", onKey, true);
  document.addEventListener("click", onClick);
  // A browser that goes back shows the page as it was left.
  window.addEventListener("pageshow", (event) => { if (event.persisted) openPopups().forEach((popup) => popup.close()); });
})();
