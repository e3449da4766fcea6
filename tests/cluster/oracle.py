"""Uses the site while the cluster fails, and reports what users saw and which acknowledged writes were lost.

A page and a form are requested ten times a second each by a user who is signed in. A saved form creates a brand whose
name is a token. The health endpoint is asked all along, and so is each server, whether it leads.
"""

import http.client
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise

from msgspec import Struct

from tests.cluster.cluster import Cluster, Node
from tests.cluster.site import BRANDS, PAGE, Site

INTERVAL = 0.1
"""Seconds between two pages, and between two writes."""
WRITERS = 2
HEALTH_INTERVAL = 0.5
LEADER_INTERVAL = 0.15
NO_RESPONSE = 0

UNAVAILABLE = 503
ASIDE = 1.5
"""Seconds before and after a fault in which the site is used."""


@dataclass(frozen=True)
class Attempt:
    """A request. `good`: the page was shown, or the write acknowledged. `token`: of a write."""

    begun: float
    ended: float
    status: int
    good: bool
    token: str = ""


class Figures(Struct, kw_only=True, frozen=True):
    """What was seen while a cluster failed. Times are in seconds."""

    acknowledged: int
    lost: int
    """Acknowledged writes that are not in the database."""
    saved_despite_error: int
    """Writes that are in the database although the response was an error."""
    longest_gap: float
    """Without a page or without an acknowledged write, whichever was longer."""
    leaders: int
    """How often a server began to lead."""
    gap_after_leader: float
    """The longest time from a new leader to the first page and the first acknowledged write."""
    statuses: dict[str, int]
    """Of pages and writes. ``0``: the site closed the connection or did not answer."""
    unexpected: dict[str, int]
    """Those of `statuses` that are neither a page, nor a saved form, nor 503."""
    slowest_response: float
    """Of pages and writes with any status."""
    slowest_health: float


@dataclass
class Oracle:
    """Uses `site` inside a ``with`` block. `figures` can be read when the cluster is whole again."""

    cluster: Cluster
    site: Site
    pages: list[Attempt] = field(default_factory=list)
    writes: list[Attempt] = field(default_factory=list)
    health: list[Attempt] = field(default_factory=list)
    led_since: list[float] = field(default_factory=list)
    """When a server was first seen to lead that did not before."""

    def __enter__(self) -> "Oracle":
        self._stopped = threading.Event()
        self._leading: set[str] = set()
        self._prefix = f"t{secrets.token_hex(4)}-"
        self._numbers = count()
        work: list[tuple[Callable[[], object], float]] = [
            (self._request_page, INTERVAL),
            *[(self._write, INTERVAL * WRITERS)] * WRITERS,
            (self._ask_health, HEALTH_INTERVAL),
            *[(self._watcher(node), LEADER_INTERVAL) for node in self.cluster.nodes],
        ]
        self._begun = time.monotonic()
        self._threads = [threading.Thread(target=self._repeat, args=each, daemon=True) for each in work]
        for thread in self._threads:
            thread.start()
        time.sleep(ASIDE)
        self.led_since.clear()  # the leader that there was
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(ASIDE)
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._ended = time.monotonic()

    # --- Requests -------------------------------------------------------------------------------------------------
    def _repeat(self, work: Callable[[], object], interval: float) -> None:
        """Do `work` every `interval` seconds, later ones if one takes longer."""
        following = time.monotonic()
        while not self._stopped.wait(max(0.0, following - time.monotonic())):
            following = max(following, time.monotonic() - interval) + interval
            work()

    def _request_page(self) -> None:
        self.pages.append(attempt(lambda: self.site.get(PAGE), is_page))

    def _write(self) -> None:
        token = f"{self._prefix}{next(self._numbers)}"
        self.writes.append(attempt(lambda: self.site.add_brand(token), is_saved, token))

    def _ask_health(self) -> None:
        self.health.append(attempt(lambda: self.site.get("/health/"), is_page))

    def _watcher(self, node: Node) -> Callable[[], None]:
        def watch() -> None:
            leads = node.leads
            if leads and node.name not in self._leading:
                self.led_since.append(time.monotonic())
                self._leading.add(node.name)
            elif not leads:
                self._leading.discard(node.name)

        return watch

    # --- What was seen --------------------------------------------------------------------------------------------
    def figures(self) -> Figures:
        attempts = [*self.pages, *self.writes]
        unexpected = [each for each in attempts if not each.good and each.status != UNAVAILABLE]
        saved = {name for (name,) in self.cluster.rows(f"SELECT name FROM brands WHERE name LIKE '{self._prefix}%'")}
        acknowledged = {each.token for each in self.writes if each.good}
        return Figures(
            acknowledged=len(acknowledged),
            lost=len(acknowledged - saved),
            saved_despite_error=len(saved - acknowledged),
            longest_gap=rounded(max(self._longest_gap(self.pages), self._longest_gap(self.writes))),
            leaders=len(self.led_since),
            gap_after_leader=rounded(
                max(
                    (self._gap_after(since, kind) for since in self.led_since for kind in (self.pages, self.writes)),
                    default=0,
                )
            ),
            statuses=counted(attempts),
            unexpected=counted(unexpected),
            slowest_response=rounded(slowest(attempts)),
            slowest_health=rounded(slowest(self.health)),
        )

    def _longest_gap(self, attempts: Sequence[Attempt]) -> float:
        times = [self._begun, *sorted(each.ended for each in attempts if each.good), self._ended]
        return max(later - earlier for earlier, later in pairwise(times))

    def _gap_after(self, since: float, attempts: Iterable[Attempt]) -> float:
        return min((each.ended for each in attempts if each.good and each.ended >= since), default=self._ended) - since


def attempt(send: Callable[[], tuple[int, str]], succeeded: Callable[[int, str], bool], token: str = "") -> Attempt:
    begun = time.monotonic()
    try:
        status, location = send()
    except (OSError, http.client.HTTPException):
        status, location = NO_RESPONSE, ""
    return Attempt(begun, time.monotonic(), status, succeeded(status, location), token)


def is_page(status: int, _location: str) -> bool:
    # A redirect would lead to the form that signs in.
    return status == 200


def is_saved(status: int, location: str) -> bool:
    return status == 302 and location == BRANDS


def counted(attempts: Iterable[Attempt]) -> dict[str, int]:
    return {str(status): number for status, number in sorted(Counter(each.status for each in attempts).items())}


def slowest(attempts: Iterable[Attempt]) -> float:
    return max(each.ended - each.begun for each in attempts)


def rounded(seconds: float) -> float:
    return round(seconds, 2)
