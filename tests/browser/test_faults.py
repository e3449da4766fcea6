"""Faults that the fixtures of this folder find on every page of every test."""

import http.server
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, Page

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

PAGES = {
    "/console": "<script>console.error('the bolt is loose')</script>",
    "/exception": "<script>undefinedFunction()</script>",
    "/promise": "<script>Promise.reject(new Error('nobody waits for it'))</script>",
    "/asset": "<img src='/missing.png'>",
    "/refused": "<img src='http://127.0.0.1:1/closed.png'>",
    "/violation": "<meta http-equiv='Content-Security-Policy' content=\"img-src 'none'\"><img src='/good.png'>",
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = PAGES.get(self.path, "")
        self.send_response(200 if content or self.path in {"/good", "/favicon.ico"} else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html>" + content.encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(browser: Browser) -> Iterator[Site]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield Site(f"http://127.0.0.1:{server.server_port}", "none", browser, str)
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("/console", "/console: the bolt is loose"),
        ("/exception", "undefinedFunction is not defined"),
        ("/promise", "nobody waits for it"),
        ("/asset", "status 404: .*/missing.png"),
        ("/refused", "net::ERR_.*: http://127.0.0.1:1/closed.png"),
        ("/violation", "Content-Security-Policy: img-src blocked .*/good.png"),
        ("/missing", "status 404: .*/missing"),
    ],
)
def test_page_with_a_fault_fails_its_test(site: Site, address: str, text: str) -> None:
    with pytest.raises(AssertionError, match=text), site.page() as page:
        page.goto(address)


def open_popup(page: Page) -> None:
    page.goto("/good")
    with page.expect_popup() as popup:
        page.evaluate("void open('/console')")
    popup.value.wait_for_load_state()


def test_fault_on_a_page_that_a_page_opens_fails_its_test(site: Site) -> None:
    with pytest.raises(AssertionError, match="the bolt is loose"), site.page() as page:
        open_popup(page)


def test_allowed_fault_and_an_unfinished_request_pass(site: Site) -> None:
    with site.page(allowed=["bolt is loose"]) as page:
        page.goto("/console")
        page.goto("/good")
        page.evaluate("void fetch('/good', {signal: AbortSignal.abort()}).catch(() => {})")


def test_failure_of_the_test_itself_is_not_hidden(site: Site) -> None:
    with pytest.raises(Error, match="ERR_UNSAFE_PORT"), site.page() as page:
        page.goto("http://127.0.0.1:1/")
