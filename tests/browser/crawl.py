"""Which pages the console has: links are followed from the dashboard, one page of each kind."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urldefrag, urljoin, urlsplit

from django.urls import Resolver404, resolve

LINK = re.compile(r"""<a\b[^>]*?\shref="([^"#][^"]*)""")
MANY = {"admin:ops_run_change": 40, "admin:ops_backup_change": 12, "admin:inventory_rack_change": 4}
"""How many pages of a kind are visited, where one shows too little. A page has the kind of its named address."""
QUERY_MATTERS = re.compile(r"[?&](state|q|location|page|copy_of)=")


@dataclass
class Crawl:
    """What a user finds on `address`: pages by kind, and the addresses that do not answer with a page."""

    address: str
    session: str
    pages: dict[str, list[str]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def run(self, *seeds: str) -> "Crawl":
        queue = list(seeds)
        for path in queue:
            queue += [link for link in self.visit(path) if link not in queue]
        return self

    def visit(self, path: str) -> Iterator[str]:
        """Remember the page, and yield the addresses of its links."""
        if not (kind := kind_of(path)) or len(self.pages.get(kind, ())) >= MANY.get(kind, 1):
            return
        status, url, text = self.get(path)
        if status == 403:
            return
        if status >= 400:
            self.broken.append(f"{path}: {status}")
        if not text or status >= 400:
            return
        found = url.removeprefix(self.address)
        if (kind := kind_of(found)) and found not in self.pages.setdefault(kind, []):
            self.pages[kind].append(found)
            for link in LINK.findall(text):
                joined = urldefrag(urljoin(url, link.replace("&amp;", "&"))).url
                if joined.startswith(f"{self.address}/"):
                    yield joined.removeprefix(self.address)

    def get(self, path: str) -> tuple[int, str, str]:
        """Status, address after redirects, and the text if it is a page in HTML."""
        request = urllib.request.Request(self.address + path, headers={"Cookie": f"sessionid={self.session}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                is_page = response.headers.get_content_type() == "text/html"
                return response.status, response.url, response.read().decode() if is_page else ""
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.url or "", ""

    def addresses(self) -> list[str]:
        return [path for paths in self.pages.values() for path in paths]


def kind_of(path: str) -> str:
    """The name of the address, with the meaning of its query; '' for addresses that are none."""
    try:
        match = resolve(urlsplit(path).path)
    except Resolver404:
        return ""
    query = QUERY_MATTERS.search(path)
    return (match.view_name or "") + (f"?{query[1]}" if query else "") if match.url_name else ""
