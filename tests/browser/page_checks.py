"""Checks of a page that is loaded: axe and the layout, at several widths, light and dark."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page

HERE = Path(__file__).parent
AXE = (HERE / "axe" / "axe.min.js").read_text()
LAYOUT = (HERE / "page_checks.js").read_text().partition("\n")[2]
RUN_AXE = """async (rules) => {
    const only = rules ? {runOnly: {type: "rule", values: rules}} : {};
    const {violations} = await axe.run(document, {resultTypes: ["violations"], ...only});
    const start = ({html}) => html.replace(/\\s+/g, " ").slice(0, 160);
    return violations.flatMap(({id, nodes}) => nodes.map((node) => `axe ${id}: ${start(node)}`));
}"""
WIDTHS = (1440, 1024, 390)
Scheme = Literal["light", "dark"]
Look = tuple[int, Scheme]
LOOKS: tuple[Look, ...] = tuple((width, scheme) for width in WIDTHS for scheme in ("light", "dark"))


def show(page: Page, width: int, scheme: Scheme) -> None:
    """Show the loaded page at that width, in that scheme. A page itself looks at the scheme only when it loads."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", scheme == "dark")
    page.evaluate(SETTLED)


SETTLED = """async () => {
    await document.fonts.ready;
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    const ends = document.getAnimations().map((one) => one.finished.catch(() => {}));
    await Promise.race([Promise.all(ends), new Promise((done) => setTimeout(done, 400))]);
}"""


def faults_of(page: Page, looks: Sequence[Look] = LOOKS) -> list[str]:
    """The faults of the page that is loaded, each once, with the width and the scheme in which it is first seen.

    axe looks for all faults in the light, and for faults of contrast in the dark.
    """
    page.evaluate(AXE)  # a script tag would not pass the Content-Security-Policy
    found: dict[str, str] = {}
    for width, scheme in looks:
        show(page, width, scheme)
        rules = None if scheme == "light" else ["color-contrast"]
        for text in (*page.evaluate(LAYOUT), *page.evaluate(RUN_AXE, rules)):
            # Rows of a table have the same fault.
            found.setdefault(re.sub(r"\d+", "N", text), f"{width} px, {scheme}: {text}")
    return list(found.values())
