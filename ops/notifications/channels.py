"""Sending messages with apprise, and a sign of life over HTTP. Nothing here raises for what the other side does.

The addresses hold passwords and tokens: what is said of them names the service and the host, and what the other side
or a library says is passed on without any part of the address.
"""

import logging
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote, urlsplit, urlunsplit

from ops.utils.redaction import redact
from ops.utils.single_flight import SingleFlight

SEND_TIMEOUT = 20.0
"""Seconds for all addresses, which are served side by side."""
TIMEOUT = 8
"""Seconds for one connection or one answer."""
LONGEST_ANSWER = 600
"""Characters of what the other side says."""
HARMLESS = re.compile(r"\A(?:localhost|\d+(?:\.\d+){3}|[\w-]+(?:\.[\w-]+)+)\Z")
"""A host's name. Where a service has none, its token stands in that place."""

# It writes addresses into its log; what is worth knowing comes back in an Answer.
apprise_log = logging.getLogger("apprise")
apprise_log.propagate = False
apprise_log.setLevel(logging.DEBUG)


@dataclass(frozen=True, kw_only=True)
class Message:
    title: str
    text: str
    is_bad: bool = True


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one address: `target` names it without its secrets, `said` is a sentence."""

    target: str
    accepted: bool
    said: str


def send_to_all(urls: Iterable[str], message: Message) -> list[Answer]:
    """One answer for each address, after `PATIENCE` at the latest."""
    # A tower of its own for each, because answers are not shared.
    flights = [(url, SingleFlight().run("notice", partial(send, url, message))) for url in urls]
    answers = []
    for url, flight in flights:
        outcome = flight.result(within=SEND_TIMEOUT)
        if isinstance(outcome, BaseException):
            outcome = Answer(target=safe_label(url), accepted=False, said=redact_url(f"{outcome}.", url))
        answers.append(outcome)
    return answers


def send(url: str, message: Message) -> Answer:
    """Hand the message to the service of an apprise address."""
    import apprise  # noqa: PLC0415  # takes a while, and most processes send nothing

    target = safe_label(url)
    with captured_log() as lines:
        service = apprise.Apprise.instantiate(with_timeouts(url), suppress_exceptions=True)
        if service is None:
            return Answer(target=target, accepted=False, said="Not an address that apprise understands.")
        kind = apprise.NotifyType.FAILURE if message.is_bad else apprise.NotifyType.SUCCESS
        accepted = bool(service.notify(body=message.text, title=message.title, notify_type=kind))
    said = redact_url(summarize_log(lines), url) or ("Accepted." if accepted else "Refused, without a reason.")
    return Answer(target=target, accepted=accepted, said=said)


def ping_heartbeat(url: str, *, success: bool) -> Answer:
    """GET the address, with ``/fail`` at the end of its path after a failure, as healthchecks.io has it."""
    parts = urlsplit(url)
    if not success:
        parts = parts._replace(path=parts.path.rstrip("/") + "/fail")
    request = urllib.request.Request(urlunsplit(parts), headers={"User-Agent": "ops"})  # noqa: S310  # see the settings
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
            said, accepted = f"{response.status} {response.read(LONGEST_ANSWER).decode(errors='replace')}", True
    except urllib.error.HTTPError as error:
        said, accepted = f"{error.code} {error.reason}", False
        error.close()
    except (OSError, ValueError) as error:
        said, accepted = f"{type(error).__name__}: {error}", False
    return Answer(target=safe_label(url), accepted=accepted, said=redact_url(said.strip(), url))


# --- Addresses ---------------------------------------------------------------------------------------------------


def safe_label(url: str) -> str:
    """``json at lab.example.org``: the service, and its host where that is one."""
    parts = urlsplit(url)
    host = host_of(url)
    return f"{parts.scheme} at {host}" if host else parts.scheme or "an address without a service"


def host_of(url: str) -> str:
    host = urlsplit(url).netloc.rpartition("@")[2].partition(":")[0]
    return host if HARMLESS.match(host) else ""


def with_timeouts(url: str) -> str:
    """The address with apprise's own limits for connecting and reading, unless it sets them."""
    limits = [f"{name}={TIMEOUT}" for name in ("cto", "rto") if f"{name}=" not in url]
    return url + ("&" if "?" in url else "?") + "&".join(limits) if limits else url


def redact_url(text: str, url: str) -> str:
    """`text` in one line without the parts of `url` that may be secret, and without those of the settings."""
    text = " ".join(redact(text).split())
    rest = url.partition("://")[2]
    host = host_of(url)
    found = {rest, *re.split(r"[/:@?&=#,]+", rest)}
    found |= {unquote(part) for part in found}
    for part in sorted(found, key=len, reverse=True):
        # Shorter ones are words such as "to" or port numbers.
        if len(part) > 3 and part != host and not part.isdigit():
            text = text.replace(part, "…")
    return text[:LONGEST_ANSWER]


# --- What apprise says ---------------------------------------------------------------------------------------------


class ThreadLogHandler(logging.Handler):
    """Keeps the lines of the thread that made it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append((record.levelno, record.getMessage()))


@contextmanager
def captured_log() -> Iterator[list[tuple[int, str]]]:
    """What apprise logs in this thread within the block."""
    listener = ThreadLogHandler()
    apprise_log.addHandler(listener)
    try:
        yield listener.lines
    finally:
        apprise_log.removeHandler(listener)


def summarize_log(lines: Iterable[tuple[int, str]]) -> str:
    """Warnings, and what they do not tell: the answer of the other side or the error of the connection."""
    told = [text for level, text in lines if level >= logging.WARNING]
    details = ("Response Details", "Exception")
    told += [text for level, text in lines if level < logging.WARNING and any(word in text for word in details)]
    return " ".join(told)
