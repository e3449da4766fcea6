"""Administrators are notified when somebody guesses the password of an account: in the log, and by `ops.notices`."""

import logging
import socket
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import CharField, Count, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone

from homerack.accounts.models import User
from ops.notices import Trouble

logger = logging.getLogger(__name__)

REPORTED_AFTER = 10
"""Failures of one account within AXES_COOLOFF_TIME. That many slow its sign-ins down, too."""


def with_email(attempts: QuerySet[AccessAttempt]) -> QuerySet[AccessAttempt]:
    """`attempts` with the `email` of the account that they are about; None where there is no such account."""
    key = Concat(Value("account:"), Cast("pk", CharField()), output_field=CharField())
    user = User.objects.alias(key=key).filter(key=OuterRef("username")).order_by()
    return attempts.annotate(email=Subquery(user.values("email")[:1]))


def counted(attempts: QuerySet[AccessAttempt]) -> QuerySet[AccessAttempt, dict[str, Any]]:
    """The failures of each account, and from how many addresses."""
    of_accounts = with_email(attempts).filter(email__isnull=False, failures_since_start__gt=0).order_by("username")
    return of_accounts.values("username", "email").annotate(
        failures=Sum("failures_since_start"), addresses=Count("ip_address", distinct=True)
    )


def warn(account: str, recent: QuerySet[AccessAttempt]) -> None:
    """A line in the log for every `REPORTED_AFTER` failures of an account."""
    found = counted(recent.filter(username=account)).first()
    if found is not None and found["failures"] % REPORTED_AFTER == 0:
        logger.warning("Somebody guesses the password of %s: %s", found["email"], in_words(found))


def guessed_accounts(alias: str) -> dict[str, Trouble]:
    """The accounts whose passwords somebody guesses, for `ops.notices` (OPS_TROUBLES)."""
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    recent = AccessAttempt.objects.using(alias).filter(attempt_time__gt=since)
    found = counted(recent).filter(failures__gte=REPORTED_AFTER)
    return {
        attempts["username"]: Trouble(
            title=f"Somebody guesses the password of {attempts['email']} on {socket.gethostname()}.",
            text=f"{in_words(attempts)} The account is not locked: its owner can sign in. See Access attempts.",
            relief=f"Nobody guesses the password of {attempts['email']} on {socket.gethostname()} any more.",
        )
        for attempts in found
    }


def in_words(attempts: dict[str, Any]) -> str:
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    addresses = attempts["addresses"]
    places = "1 address" if addresses == 1 else f"{addresses} addresses"
    return f"{attempts['failures']} attempts failed within {minutes} minutes, from {places}. Attempts are slowed down."
