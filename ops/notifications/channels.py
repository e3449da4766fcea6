"""Send notifications with apprise, and heartbeat pings over HTTP. Nothing here raises when a delivery fails.

The URLs hold passwords and tokens: a label names the service and the host only, and responses and errors are passed on
without any part of the URL.
"""

import contextlib
import logging
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from urllib.parse import unquote, urlsplit, urlunsplit

from ops.conf import conf
from ops.errors import PreconditionFailed
from ops.notifications.reasons import explain_failure
from ops.utils.redaction import redact
from ops.utils.single_flight import SingleFlight

SEND_TIMEOUT = 20.0
"""Seconds for all targets, to which messages are sent in parallel."""
TIMEOUT = 8
"""Seconds for one connection or one response."""
LONGEST_RESPONSE = 600
"""Characters."""
HOSTNAME = re.compile(
    r"\A(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|(?:[\w-]{1,63}\.)+(?:[a-z]{2,24}|xn--[a-z0-9-]{1,59}))\Z", re.IGNORECASE
)
"""Services without a host have a token in its place, which may have dots, but hardly ends like a domain."""
SCHEME = re.compile(r"\A[a-z][\w+.-]*://\S+\Z", re.IGNORECASE)
"""What NOTIFY_URLS takes as one address."""

# Apprise logs whole URLs; what matters of it is returned in a Delivery.
apprise_log = logging.getLogger("apprise")
apprise_log.propagate = False
apprise_log.setLevel(logging.DEBUG)


@dataclass(frozen=True, kw_only=True)
class Message:
    title: str
    text: str
    is_bad: bool = True

    @property
    def heading(self) -> str:
        """The title after the name of the site: a target may get messages of many programs."""
        return f"{conf.OPS_SITE_NAME}: {self.title}" if conf.OPS_SITE_NAME else self.title


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The outcome for one target, whose label has no secrets. `response` is a sentence, of the other side if it can."""

    target: str
    accepted: bool
    response: str


def send_to_all(urls: Iterable[str], message: Message) -> list[Delivery]:
    """One delivery for each URL, after `SEND_TIMEOUT` at the latest."""
    # Each has a SingleFlight of its own: two messages to the same target must not become one.
    calls = [(url, SingleFlight().run("notification", partial(send, url, message))) for url in urls]
    deliveries = []
    for url, call in calls:
        outcome = call.result(within=SEND_TIMEOUT)
        if isinstance(outcome, BaseException):
            response = redact_url(f"{outcome}.", url)
            outcome = Delivery(target=safe_label(url), accepted=False, response=response)
        deliveries.append(outcome)
    return deliveries


def send(url: str, message: Message) -> Delivery:
    """Send the message to the service of an apprise URL."""
    import apprise  # noqa: PLC0415  # takes a while, and most processes send nothing

    target = safe_label(url)
    with captured_log() as lines:
        service = apprise.Apprise.instantiate(with_timeouts(url), suppress_exceptions=True)
        if service is None:
            return Delivery(target=target, accepted=False, response="Not a URL that apprise supports.")
        kind = apprise.NotifyType.FAILURE if message.is_bad else apprise.NotifyType.SUCCESS
        accepted = bool(service.notify(body=message.text, title=message.heading, notify_type=kind))
    said = summarize_log(lines)
    if not accepted:
        return Delivery(target=target, accepted=False, response=failure(said, url) or "Rejected, without a reason.")
    return Delivery(target=target, accepted=True, response=redact_url(said, url) or "Accepted.")


def failure(said: str, url: str) -> str:
    """A plain sentence, where the reason is known, before what was `said` of the failure."""
    return f"{explain_failure(said, where_of(url))} {redact_url(said, url)}".strip()


def ping_heartbeat(url: str, *, success: bool) -> Delivery:
    """GET the URL, with ``/fail`` at the end of its path after a failure, as healthchecks.io defines it."""
    try:
        request = urllib.request.Request(  # noqa: S310  # see the settings
            url if success else failure_url(url), headers={"User-Agent": "ops"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            response, accepted = f"{answer.status} {answer.read(LONGEST_RESPONSE).decode(errors='replace')}", True
    except urllib.error.HTTPError as error:
        response, accepted = f"{error.code} {error.reason}", False
        error.close()
    except (OSError, ValueError, HTTPException) as error:  # the last: what is no HTTP, such as the banner of SSH
        response, accepted = f"{type(error).__name__}: {error}", False
    shown = redact_url(response.strip(), url) if accepted else failure(response.strip(), url)
    return Delivery(target=safe_label(url), accepted=accepted, response=shown)


def failure_url(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/fail"))


# --- URLs -------------------------------------------------------------------------------------------------------------


def require_target(url: str) -> None:
    """Raises PreconditionFailed for what apprise cannot send to; nothing is sent."""
    import apprise  # noqa: PLC0415  # takes a while

    with captured_log():
        is_known = bool(SCHEME.match(url)) and apprise.Apprise.instantiate(url, suppress_exceptions=True) is not None
    if not is_known:
        raise PreconditionFailed(
            "This is not the address of a service that apprise knows. Nothing was saved.",
            "It begins with the name of the service, as in ntfy://ntfy.sh/my-lab.",
        )


def require_heartbeat(url: str) -> None:
    """Raises PreconditionFailed for what is not the address of a web page."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if SCHEME.match(url) and parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return
    raise PreconditionFailed(
        "This is not a web address. Nothing was saved.", "It begins with https://, as in https://hc-ping.com/…"
    )


def safe_label(url: str) -> str:
    """``json at lab.example.org``: the service, and its host where that is one."""
    service, host = service_of(url), host_of(url)
    return f"{service} at {host}" if host else service or "a URL without a service"


def service_of(url: str) -> str:
    return url.partition("://")[0].lower() if SCHEME.match(url) else ""


def host_of(url: str) -> str:
    """Without `urlsplit`, which raises ValueError for a bracket in a password."""
    host = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2].partition(":")[0]
    return host if HOSTNAME.match(host) else ""


def where_of(url: str) -> str:
    """``lab.example.org:8080``: the host with the port, if the URL has one; '' without a host."""
    host = host_of(url)
    port = re.match(r":\d{1,5}(?=[/?#]|\Z)", url.partition(host)[2]) if host else None
    return f"{host}{port[0]}" if port else host


def with_timeouts(url: str) -> str:
    """The URL with apprise's own timeouts for connecting and reading, unless it sets them."""
    timeouts = [f"{name}={TIMEOUT}" for name in ("cto", "rto") if f"{name}=" not in url]
    return url + ("&" if "?" in url else "?") + "&".join(timeouts) if timeouts else url


def redact_url(text: str, url: str) -> str:
    """`text` in one line, without the secrets of the settings and without the parts of `url` that may be secret."""
    text = redact(" ".join(text.split()))
    rest = url.partition("://")[2]
    host = host_of(url)
    parts = {rest, *re.split(r"[/:@?&=#,]+", rest)}
    parts |= {unquote(part) for part in parts}
    for part in sorted(parts, key=len, reverse=True):
        # Shorter ones are words such as "to" or port numbers.
        if len(part) > 3 and part != host and not part.isdigit():
            text = text.replace(part, "…")
    return text[:LONGEST_RESPONSE]


# --- The log of apprise ---------------------------------------------------------------------------------------------


class ThreadLogHandler(logging.Handler):
    """Keeps the lines of the thread that created it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append((record.levelno, record.getMessage()))


@contextlib.contextmanager
def captured_log() -> Iterator[list[tuple[int, str]]]:
    """What apprise logs in this thread within the block."""
    handler = ThreadLogHandler()
    apprise_log.addHandler(handler)
    try:
        yield handler.lines
    finally:
        apprise_log.removeHandler(handler)


def summarize_log(lines: Iterable[tuple[int, str]]) -> str:
    """Warnings, then the response or the connection error, which apprise logs at a lower level."""
    summary = [text for level, text in lines if level >= logging.WARNING]
    details = ("Response Details", "Exception")
    summary += [text for level, text in lines if level < logging.WARNING and any(word in text for word in details)]
    return " ".join(summary)
