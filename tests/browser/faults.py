"""What a browser reports while it shows pages: errors of scripts, failed requests, blocked content."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, Response, WebError

REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`Content-Security-Policy: ${event.violatedDirective} blocked ${event.blockedURI || "inline"}`
        + ` on ${event.documentURI}, line ${event.lineNumber} of ${event.sourceFile}`));
"""
ABORTED = "net::ERR_ABORTED"
"""The browser stopped a request itself: the page was left, or its answer is a download."""


@dataclass
class Faults:
    """The faults on all pages of a browser context, each with the address of the page on which it appeared.

    Faults that match a pattern of `allowed` are expected, and are not in `found`.
    """

    allowed: Iterable[str] = ()
    found: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("console", self.on_console)
        context.on("weberror", self.on_error)
        context.on("response", self.on_response)
        context.on("requestfailed", self.on_failure)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.add(message.page.url if message.page else "", f"{message.text} ({message.location.get('url', '')})")

    def on_error(self, error: WebError) -> None:
        self.add(error.page.url if error.page else "", str(error.error.stack or error.error))

    def on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.add(response.frame.url, f"status {response.status}: {response.url}")

    def on_failure(self, request: Request) -> None:
        if request.failure != ABORTED:
            self.add(request.frame.url, f"{request.failure}: {request.url}")

    def add(self, page: str, text: str) -> None:
        if not any(re.search(pattern, text) for pattern in self.allowed):
            self.found.append(f"{page}: {text}")
