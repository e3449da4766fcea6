"""Requests wait only briefly for the database, because a user waits for the response."""

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
    """Run each request with the retry budget of requests."""
    if iscoroutinefunction(get_response):
        get_response_async = cast("Callable[[HttpRequest], Awaitable[HttpResponseBase]]", get_response)

        async def async_middleware(request: HttpRequest) -> HttpResponseBase:
            with with_budget(REQUEST):
                return await get_response_async(request)

        return async_middleware
    get_response_sync = cast("Callable[[HttpRequest], HttpResponseBase]", get_response)

    def sync_middleware(request: HttpRequest) -> HttpResponseBase:
        with with_budget(REQUEST):
            return get_response_sync(request)

    return sync_middleware
