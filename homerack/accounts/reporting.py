"""Administrators are notified when somebody guesses the password of an account: in the log, by
`ops.notifications.alerts`, and on the console's first page."""

import logging
import socket
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import CharField, Count, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Cast, Concat
from django.http import HttpRequest
from django.utils import timezone

from homerack.accounts.models import User
from ops.admin.dashboard.context import Card
from ops.notifications.alerts import Alert

logger = logging.getLogger(__name__)

REPORTED_AFTER = 10
"""Failures of one account within AXES_COOLOFF_TIME. That many slow its sign-ins down, too."""


def with_email(attempts: QuerySet[AccessAttempt]) -> QuerySet[AccessAttempt]:
    """`attempts` with the `email` of the account that they are about; None where there is no such account."""
    key: Any = Concat(Value("account:"), Cast("pk", CharField()), output_field=CharField())
    user = User.objects.alias(key=key).filter(key=OuterRef("username")).order_by()
    annotated: QuerySet[AccessAttempt] = attempts.annotate(email=Subquery(user.values("email")[:1]))
    return annotated


def failures_by_account(attempts: QuerySet[AccessAttempt]) -> QuerySet[AccessAttempt, dict[str, Any]]:
    """The failures of each account, and from how many addresses."""
    of_accounts = with_email(attempts).filter(email__isnull=False, failures_since_start__gt=0).order_by("username")
    counts: QuerySet[AccessAttempt, dict[str, Any]] = of_accounts.values("username", "email").annotate(
        failures=Sum("failures_since_start"), addresses=Count("ip_address", distinct=True)
    )
    return counts


def warn(account: str, recent: QuerySet[AccessAttempt]) -> None:
    """A line in the log for each failure of an account from the `REPORTED_AFTER`th on."""
    found = failures_by_account(recent.filter(username=account)).first()
    if found is not None and found["failures"] >= REPORTED_AFTER:
        logger.warning("Somebody guesses the password of %s: %s", found["email"], describe(found))


def password_guessing_alerts(alias: str) -> dict[str, Alert]:
    """The accounts whose passwords somebody guesses, for `ops.notifications.alerts` (OPS_ALERT_SOURCES)."""
    return {
        attempts["username"]: Alert(
            title=f"Somebody guesses the password of {attempts['email']} on {socket.gethostname()}.",
            text=f"{describe(attempts)} The account is not locked: its owner can sign in. See Access attempts.",
            relief=f"Nobody guesses the password of {attempts['email']} on {socket.gethostname()} any more.",
        )
        for attempts in accounts_under_attack(alias)
    }


def password_guessing_card(request: HttpRequest) -> Card | None:
    """The same for administrators who look at the console's first page."""
    found = (
        [(attempts["email"], describe(attempts)) for attempts in accounts_under_attack("default")]
        if may_see(request)
        else []
    )
    return Card(template="dashboard/guessed.html", context={"accounts": found}) if found else None


def may_see(request: HttpRequest) -> bool:
    return request.user.has_perm("axes.view_accessattempt")


def accounts_under_attack(alias: str) -> QuerySet[AccessAttempt, dict[str, Any]]:
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    return failures_by_account(AccessAttempt.objects.using(alias).filter(attempt_time__gt=since)).filter(
        failures__gte=REPORTED_AFTER
    )


def describe(attempts: dict[str, Any]) -> str:
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    addresses = attempts["addresses"]
    places = "1 address" if addresses == 1 else f"{addresses} addresses"
    return f"{attempts['failures']} attempts failed within {minutes} minutes, from {places}. Attempts are slowed down."
