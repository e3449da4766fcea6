"""The detailed pages of errors that Django shows with DEBUG: what they hide, and which errors get another page."""

import re
from http import HTTPStatus
from types import TracebackType
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views import debug

from homerack.web import error_pages, outages

detailed_page = debug.technical_500_response


class SecretsFilter(debug.SafeExceptionReporterFilter):
    """Django knows secrets by words in their names, which keys of age and addresses with passwords do not have."""

    hidden_settings = re.compile(
        debug.SafeExceptionReporterFilter.hidden_settings.pattern
        + "|IDENTITY|NOTIFY_URL|HEARTBEAT_URL|REDIS_URL|BROKER_URL|RESULT_BACKEND|DATABASE_|POSTGRES_URL",
        flags=re.IGNORECASE,
    )


def explain_outages() -> None:
    """With DEBUG, too, answer 503 with the page of `error_pages` while the database does not answer.

    Django has no handler for that. Its own page has the status 500, and shows what the variables of the stack hold,
    with queries that wait for the same database.
    """

    def respond(
        request: HttpRequest,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
        status_code: int = HTTPStatus.INTERNAL_SERVER_ERROR,
    ) -> HttpResponse:
        if status_code == HTTPStatus.INTERNAL_SERVER_ERROR and outages.page_of(exc_value):
            return error_pages.server_error(request)
        return detailed_page(request, exc_type, exc_value, tb, status_code)

    replaced: Any = debug
    replaced.technical_500_response = respond
