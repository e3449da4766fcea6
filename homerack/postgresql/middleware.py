"""A person waits at the other end of a request, so it does not wait long for the database."""

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from homerack.postgresql.retry_budget import REQUEST, with_budget

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def retry_budget_middleware(get_response: GetResponse) -> GetResponse:
    """Limit the retry of everything that a request does."""
    if iscoroutinefunction(get_response):
        answer_later = cast("Callable[[HttpRequest], Awaitable[HttpResponseBase]]", get_response)

        async def later(request: HttpRequest) -> HttpResponseBase:
            with with_budget(REQUEST):
                return await answer_later(request)

        return later
    answer = cast("Callable[[HttpRequest], HttpResponseBase]", get_response)

    def at_once(request: HttpRequest) -> HttpResponseBase:
        with with_budget(REQUEST):
            return answer(request)

    return at_once
