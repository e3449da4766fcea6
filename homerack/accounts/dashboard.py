"""Password guessing on the dashboard."""

from django.http import HttpRequest

from homerack.accounts.reporting import accounts_under_attack, describe
from ops.admin.dashboard.context import Card


def password_guessing_card(request: HttpRequest) -> Card | None:
    """The accounts under attack, for OPS_DASHBOARD_CARDS; None for users who may not view access attempts."""
    found = (
        [(attempts["email"], describe(attempts)) for attempts in accounts_under_attack("default")]
        if request.user.has_perm("axes.view_accessattempt")
        else []
    )
    return Card(template="dashboard/password_guessing.html", context={"accounts": found}) if found else None
