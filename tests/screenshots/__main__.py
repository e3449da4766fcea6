"""Take the pictures of the documents again: ``make screenshots``, or ``python -m tests.screenshots [NAME …]``.

Needs a Chromium, sshd and PostgreSQL. Names and rows are always the same; times are those of today.
"""

import argparse
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.screenshots import png
from tests.screenshots.pictures import PICTURES, Picture
from tests.screenshots.scenes import SCENES, Pages
from tests.screenshots.site import PictureSite

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
STILL = "*, *::before, *::after { animation: none !important; transition: none !important; caret-color: transparent }"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="without docs/images/ and .png (default: all)")
    parser.add_argument("--directory", type=Path, default=IMAGES, help="default: docs/images")
    options = parser.parse_args()
    wanted = {name: PICTURES[name] for name in options.names or PICTURES}
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scene in dict.fromkeys(picture.scene for picture in wanted.values()):
            pictures = {name: picture for name, picture in wanted.items() if picture.scene == scene}
            take(browser, scene, pictures, options.directory)
        browser.close()


def take(browser: Browser, scene: str, pictures: dict[str, Picture], directory: Path) -> None:
    print(f"{scene}: {', '.join(pictures)}", flush=True)  # noqa: T201
    with empty_folder() as folder, SCENES[scene](folder) as (site, pages):
        session = site.session()
        for name, picture in pictures.items():
            shot = shoot(browser, site, session, picture, pages)
            (directory / f"{name}.png").write_bytes(png.shrink(shot))


@contextlib.contextmanager
def empty_folder() -> Iterator[Path]:
    """Of the same name each time, because pages show it."""
    folder = Path(tempfile.gettempdir()) / "homerack-pictures"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def shoot(browser: Browser, site: PictureSite, session: str, picture: Picture, pages: Pages) -> bytes:
    size = {"width": picture.width, "height": picture.height or 900}
    context = browser.new_context(viewport=size, color_scheme=picture.scheme, base_url=site.address)  # type: ignore[arg-type]
    context.add_cookies([{"name": "sessionid", "value": session, "url": site.address}])
    page = context.new_page()
    answer = page.goto(pages.get(picture.page, picture.page))
    assert answer, picture
    assert answer.ok, picture
    page.add_style_tag(content=STILL)
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(500)  # unfold's own scripts settle
    shot = page.locator(picture.part).first.screenshot() if picture.part else page.screenshot()
    context.close()
    return shot


if __name__ == "__main__":
    main()
