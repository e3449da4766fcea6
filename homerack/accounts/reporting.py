"""Reports of password guessing, in the log and as alerts."""

import logging
import socket
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import CharField, Count, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone

from homerack.accounts.models import User
from ops.notifications.sent_alerts import Alert

logger = logging.getLogger(__name__)

REPORTED_AFTER = 10
"""Failures of one account within AXES_COOLOFF_TIME. From this number on its sign-ins are delayed, too."""


def with_email(attempts: QuerySet[AccessAttempt]) -> QuerySet[AccessAttempt]:
    """`attempts` with the `email` of their account; None where there is no such account."""
    key: Any = Concat(Value("account:"), Cast("pk", CharField()), output_field=CharField())
    user = User.objects.alias(key=key).filter(key=OuterRef("username")).order_by()
    annotated: QuerySet[AccessAttempt] = attempts.annotate(email=Subquery(user.values("email")[:1]))
    return annotated


def failures_by_account(attempts: QuerySet[AccessAttempt]) -> QuerySet[AccessAttempt, dict[str, Any]]:
    """The number of failures of each account, and of the addresses that they come from."""
    of_accounts = with_email(attempts).filter(email__isnull=False, failures_since_start__gt=0).order_by("username")
    counts: QuerySet[AccessAttempt, dict[str, Any]] = of_accounts.values("username", "email").annotate(
        failures=Sum("failures_since_start"), addresses=Count("ip_address", distinct=True)
    )
    return counts


def warn(account: str, recent: QuerySet[AccessAttempt]) -> None:
    """Log each failure of an account from the `REPORTED_AFTER`th on."""
    found = failures_by_account(recent.filter(username=account)).first()
    if found is not None and found["failures"] >= REPORTED_AFTER:
        logger.warning("Possible password guessing for %s: %s", found["email"], describe(found))


def password_guessing_alerts(alias: str) -> dict[str, Alert]:
    """One alert for each account under attack, for OPS_ALERT_SOURCES."""
    return {
        attempts["username"]: Alert(
            title=f"Possible password guessing for {attempts['email']} on {socket.gethostname()}.",
            text=f"{describe(attempts)} The account is not locked: its owner can sign in. See Access attempts.",
            resolved_title=f"Password guessing for {attempts['email']} on {socket.gethostname()} has stopped.",
        )
        for attempts in accounts_under_attack(alias)
    }


def accounts_under_attack(alias: str) -> QuerySet[AccessAttempt, dict[str, Any]]:
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    return failures_by_account(AccessAttempt.objects.using(alias).filter(attempt_time__gt=since)).filter(
        failures__gte=REPORTED_AFTER
    )


def describe(attempts: dict[str, Any]) -> str:
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    addresses = attempts["addresses"]
    origin = "1 address" if addresses == 1 else f"{addresses} addresses"
    return f"{attempts['failures']} sign-ins failed within {minutes} minutes, from {origin}. Sign-ins are delayed."
