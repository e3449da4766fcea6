// Faults in the layout of the page as it is now shown, as sentences. Evaluated by page_checks.py.
() => {
    const CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary, "
        + "[role=button], [role=tab], [role=menuitem], [role=switch], [contenteditable=true]";
    const TEXTS = `${CONTROLS}, td, th, dt, dd, label, h1, h2, h3, h4, li, p, code, pre, legend, caption, .ops-badge, span`;
    const faults = [];

    const shown = (element) => {
        const box = element.getBoundingClientRect();
        return box.width > 1 && box.height > 1
            && element.checkVisibility({visibilityProperty: true, opacityProperty: true, contentVisibilityAuto: true});
    };
    const nameOf = (element) => {
        const classes = [...element.classList].filter((name) => !/[:[]/.test(name)).slice(0, 3).join(".");
        const text = (element.getAttribute("aria-label") || element.textContent || element.name || "").trim().replace(/\s+/g, " ");
        return `<${element.localName}${classes && `.${classes}`}> "${text.slice(0, 60)}"`;
    };
    const hasOwnText = (element) =>
        [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    const shortens = (element) => {
        for (let at = element; at && at !== document.body; at = at.parentElement) {
            if (at.title || getComputedStyle(at).textOverflow === "ellipsis") return true;
        }
        return false;
    };
    // The part of the page in which an element can be seen without scrolling sideways, and what limits it.
    const frameOf = (element) => {
        let right = innerWidth, left = 0, by = null;
        for (let at = element.parentElement; at && at !== document.documentElement; at = at.parentElement) {
            const overflow = getComputedStyle(at).overflowX;
            if (overflow === "visible") continue;
            const box = at.getBoundingClientRect();
            if (box.right < right) [right, by] = [box.right, at];
            if (box.left > left) [left, by] = [box.left, at];
        }
        return {left, right, by};
    };
    const isAsideScreen = (element) => {
        const box = element.getBoundingClientRect();
        return box.right <= 0 || box.left >= innerWidth;
    };

    const wide = document.documentElement.scrollWidth - innerWidth;
    if (wide > 0) faults.push(`the document is ${wide} px wider than the window`);

    const reported = new Set();
    for (const element of document.querySelectorAll(TEXTS)) {
        const isControl = element.matches(CONTROLS);
        if (!shown(element) || (!isControl && !hasOwnText(element))) continue;
        if ([...reported].some((other) => other.contains(element))) continue;
        const style = getComputedStyle(element);
        const clips = ["hidden", "clip"].includes(style.overflowX) && !element.matches("input, select, textarea");
        if (clips && element.scrollWidth > element.clientWidth + 1 && !shortens(element)) {
            faults.push(`its text is clipped: ${nameOf(element)}`);
            reported.add(element);
            continue;
        }
        const box = element.getBoundingClientRect();
        const frame = frameOf(element);
        if (isAsideScreen(element) && (!frame.by || frame.by === document.body)) continue;  // a drawer that is closed
        if (element.matches(".skip-link, [class*=skip]")) continue;
        if ((box.right > frame.right + 1 || box.left < frame.left - 1) && !shortens(element)) {
            faults.push(`it is cut, or only seen after scrolling sideways: ${nameOf(element)}`);
            reported.add(element);
        }
    }

    const clickable = new Set(document.querySelectorAll(CONTROLS));
    for (const element of document.querySelectorAll("body *")) {
        const listens = [...element.attributes].some(({name, value}) =>
            /^(@|x-on:)click(?!\.(outside|away)|[\w.-]*\.(outside|away|window))/.test(name) && value);
        const points = getComputedStyle(element).cursor === "pointer"
            && getComputedStyle(element.parentElement).cursor !== "pointer";
        if (listens || (points && !element.matches("label"))) clickable.add(element);
    }
    for (const element of clickable) {
        if (!shown(element) || isAsideScreen(element) || element.matches(":disabled, [aria-disabled=true]")) continue;
        if (element.closest("[inert], [aria-hidden=true]") && !element.matches(CONTROLS)) continue;
        const reachable = (at) => at.tabIndex >= 0 && !at.closest("[inert]");
        const group = element.matches("input[type=radio]") || element.closest(".select2-container, [role=listbox]");
        if (group || reachable(element)) continue;
        if (element.closest("a[href], button, label, summary, [tabindex='0']")) continue;
        if ([...element.querySelectorAll("a[href], button, input, summary, [tabindex='0']")].some(reachable)) continue;
        faults.push(`it can be clicked, but not reached by Tab: ${nameOf(element)}`);
    }
    return [...new Set(faults)];
}
