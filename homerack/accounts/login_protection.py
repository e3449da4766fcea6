"""Limits on failed sign-ins, against password guessing. django-axes stores the failures and calls `Handler`.

==========================  ==============  ==========================================================================
Failures within 15 minutes  Setting         Then
==========================  ==============  ==========================================================================
5 of one account from one   AXES_FAILURE    The account is locked for the address until the failures are 15 minutes
address                     _LIMIT          old.
50 from one address         ADDRESS_LIMIT   All accounts are locked for the address until then.
10 of one account from      THROTTLED_AFTER Every address must wait between two sign-ins to the account: 1, 2, 4 …
any address                                 seconds, at most a minute. Administrators are notified. An attack cannot
                                            lock out the owner of the account.
==========================  ==============  ==========================================================================

An address is an IPv4 address or the /64 network of an IPv6 address, which one machine can use as a whole. Where many
clients seem to have one address (CLIENT_ADDRESSES_DIFFER is false, or a proxy reports the gateway of its network), a
lock of that address would lock out all users: then only the third limit applies.
"""

import datetime as dt
import functools
import ipaddress
import math
import sys
import unicodedata
from pathlib import Path
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.backends import ModelBackend
from django.db.models import Max, QuerySet, Sum
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from homerack.accounts import reporting
from homerack.accounts.models import User

TOO_MANY_REQUESTS = 429
ADDRESS_LIMIT = 50
"""Failures from one address, over all accounts."""
THROTTLED_AFTER = reporting.REPORTED_AFTER
"""Failures of one account, over all addresses. More than one address can cause before it is locked."""
MAX_DELAY = 60
"""Seconds."""
NO_ADDRESS = "0.0.0.0"  # noqa: S104  # nothing is bound to it
"""Stands for clients without a known address, such as those of a Unix socket."""
MAX_KEY_LENGTH = 255
"""Characters in django-axes' column."""


# --- Client address and user name ---------------------------------------------------------------------------------


def client_ip(request: HttpRequest) -> str:
    """The IPv4 address that a request comes from, or the first address of its IPv6 /64, or `NO_ADDRESS`.

    Behind a proxy it is the last entry of X-Forwarded-For, which the proxy wrote; clients can forge those before it.
    """
    sender = request.META.get("REMOTE_ADDR", "")
    if settings.BEHIND_PROXY:
        sender = request.META.get("HTTP_X_FORWARDED_FOR", sender).rpartition(",")[2].strip()
    try:
        address = ipaddress.ip_address(sender)
    except ValueError:
        return NO_ADDRESS
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    # A server that listens to both families reports IPv4 clients as ::ffff:a.b.c.d, which all share one /64.
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))


def username_from(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """``account:`` and the primary key of the user, so that all spellings of a name count together.

    A name without an account is ``name:`` and its normalised spelling. It has the same limits, so that they do not
    reveal which accounts exist.
    """
    typed = (credentials or request.POST).get("username") or ""
    name = unicodedata.normalize("NFKC", typed).strip()
    try:
        return f"account:{User.objects.get_by_natural_key(name).pk}"
    except User.DoesNotExist:
        return f"name:{name.casefold()}"[:MAX_KEY_LENGTH]


def identifies_client(address: str) -> bool:
    """Whether `address` stands for one client rather than for many.

    A container engine may replace the addresses of clients by that of the network's gateway.
    """
    if not settings.CLIENT_ADDRESSES_DIFFER or address == NO_ADDRESS:
        return False
    return not (settings.BEHIND_PROXY and address == gateway())


@functools.cache
def gateway() -> str:
    """The default gateway of this machine or container, from Linux's routing table; '' if there is none."""
    try:
        lines = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return ""
    routes = [line.split() for line in lines]
    # Addresses are 32-bit numbers in this machine's byte order.
    found = [int(fields[2], 16).to_bytes(4, sys.byteorder) for fields in routes if fields[1] == fields[7] == "00000000"]
    return str(ipaddress.IPv4Address(found[0])) if found else ""


# --- Locks and delays ---------------------------------------------------------------------------------------------


def recent(now: dt.datetime) -> QuerySet[AccessAttempt]:
    attempts: QuerySet[AccessAttempt] = AccessAttempt.objects.filter(attempt_time__gt=now - settings.AXES_COOLOFF_TIME)
    return attempts


def wait_until(account: str, address: str, now: dt.datetime) -> dt.datetime:
    """When a password for `account` from `address` is checked again; `now` if it is not locked or delayed."""
    return max(locked_until(account, address, now), throttled_until(account, address, now))


def locked_until(account: str, address: str, now: dt.datetime) -> dt.datetime:
    if not identifies_client(address):
        return now
    from_here = recent(now).filter(ip_address=address)
    of_pair = released_at(settings.AXES_FAILURE_LIMIT, from_here.filter(username=account), now)
    return max(of_pair, released_at(ADDRESS_LIMIT, from_here, now))


def released_at(limit: int, attempts: QuerySet[AccessAttempt], now: dt.datetime) -> dt.datetime:
    """When failures will have expired so that fewer than `limit` are left."""
    failures = 0
    for when, number in attempts.order_by("-attempt_time").values_list("attempt_time", "failures_since_start"):
        failures += number
        if failures >= limit:
            until: dt.datetime = when + settings.AXES_COOLOFF_TIME
            return until
    return now


def throttled_until(account: str, address: str, now: dt.datetime) -> dt.datetime:
    """The delay begins with the last failure from this address or, without one, with the first sign-in.

    So failures from other addresses never make the owner wait longer than one delay.
    """
    of_account = recent(now).filter(username=account)
    failures = of_account.aggregate(sum=Sum("failures_since_start"))["sum"] or 0
    if failures < THROTTLED_AFTER:
        return now
    pause = dt.timedelta(seconds=min(MAX_DELAY, 2 ** min(failures - THROTTLED_AFTER, MAX_DELAY)))
    last: dt.datetime | None = of_account.filter(ip_address=address).aggregate(last=Max("attempt_time"))["last"]
    return max(now, (last or now) + pause)


class Handler(AxesDatabaseHandler):  # type: ignore[misc]
    """django-axes' handler with the limits above. Attempts during a lock or delay are not counted."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        """Whether a sign-in is refused without checking the password."""
        account, address, now = attempt_of(request, credentials)
        if wait_until(account, address, now) <= now:
            return False
        start_delay(account, address, now)
        return True

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """The limit if it is reached, else 0: django-axes calls this after each failure to decide about a lock."""
        account, address, now = attempt_of(request, credentials)
        return settings.AXES_FAILURE_LIMIT if locked_until(account, address, now) > now else 0

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **options: Any
    ) -> None:
        was_refused = getattr(request, "axes_locked_out", False)
        super().user_login_failed(sender, credentials, request, **options)
        if request is not None and not was_refused:
            reporting.warn(username_from(request, credentials), recent(timezone.now()))


def attempt_of(request: HttpRequest, credentials: dict[str, Any] | None) -> tuple[str, str, dt.datetime]:
    """The account, the client address and the time of a sign-in."""
    return username_from(request, credentials), request.axes_ip_address, request.axes_attempt_time  # type: ignore[attr-defined]


def start_delay(account: str, address: str, now: dt.datetime) -> None:
    """Store the first attempt of an address, from which its delay counts.

    A row of an older attack, which django-axes has not deleted yet, is reused.
    """
    if not recent(now).filter(username=account, ip_address=address).exists():
        first = {"failures_since_start": 0, "attempt_time": timezone.now()}
        AccessAttempt.objects.update_or_create(username=account, ip_address=address, user_agent="", defaults=first)


class Backend(ModelBackend):
    """Django's backend. A correct password resets the count, also on pages that ask for it without a sign-in."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **options: Any
    ) -> Any:
        user = super().authenticate(request, username=username, password=password, **options)
        if user is not None and request is not None:
            AxesProxyHandler.get_implementation().reset_user_attempts(request, {"username": username})
        return user


@receiver(pre_save, sender=AccessAttempt)
def discard_form_data(instance: AccessAttempt, **_signal: Any) -> None:
    """django-axes stores form data except for configured fields, but password fields have many names."""
    instance.get_data = instance.post_data = ""


def lockout_response(request: HttpRequest, _response: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """The page shown while sign-ins are locked or delayed, instead of the page that asked for the password."""
    account, address, _ = attempt_of(request, credentials)
    now = timezone.now()
    seconds = max(1, math.ceil((wait_until(account, address, now) - now).total_seconds()))
    context = {**admin.site.each_context(request), "title": "Too many attempts", "wait": format_wait(seconds)}
    response = render(request, "accounts/locked_out.html", context, status=TOO_MANY_REQUESTS)
    response["Retry-After"] = str(seconds)
    return response


def format_wait(seconds: int) -> str:
    if seconds > MAX_DELAY:
        return f"{math.ceil(seconds / 60)} minutes"
    return "1 second" if seconds == 1 else f"{seconds} seconds"
