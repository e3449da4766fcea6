"""Where a user is after an action: on the page on which they began it, with its filters."""

from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

PARAMETER = "next"


def with_return(url: str, page: str) -> str:
    """`url` of an action that leads back to `page`, a path of this site."""
    return f"{url}?{urlencode({PARAMETER: page})}"


def return_path(request: HttpRequest, default: str) -> str:
    """The page that the URL of the action names, if it is in the admin of this site; else `default`."""
    page = request.GET.get(PARAMETER, "")
    is_here = url_has_allowed_host_and_scheme(page, allowed_hosts=None, require_https=request.is_secure())
    return page if is_here and page.startswith(reverse("admin:index")) else default
