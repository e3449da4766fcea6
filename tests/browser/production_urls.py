"""HomeRack's addresses, one whose view fails, and one that blocks writes for half a minute."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from homerack.urls import handler400, handler403, handler404, handler500, urlpatterns
from ops.maintenance import MaintenanceState, mode_from_settings
from ops.utils import clock

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]


def fail(_request: HttpRequest) -> HttpResponse:
    raise RuntimeError("This view always fails.")


def block_writes(_request: HttpRequest) -> HttpResponse:
    mode_from_settings().enable(MaintenanceState(reason="The database is being restored.", since=clock.now()))
    return HttpResponse("blocked")


urlpatterns = [path("fails/", fail), path("block-writes/", block_writes), *urlpatterns]
