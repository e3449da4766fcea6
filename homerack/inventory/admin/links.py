"""Links to the pages of devices, for users who may open them."""

from collections.abc import Callable, Iterable

from django.http import HttpRequest
from django.urls import reverse

from homerack.inventory.models import Device, RackPosition


def device_link(request: HttpRequest) -> Callable[[Device], str]:
    """A function that returns the URL of a device's page, or '' for users who may not open it."""
    allowed = any(request.user.has_perm(f"inventory.{verb}_device") for verb in ("view", "change"))

    def link(device: Device) -> str:
        return reverse("admin:inventory_device_change", args=(device.pk,)) if allowed else ""

    return link


def existing_device_link(request: HttpRequest, positions: Iterable[RackPosition]) -> Callable[[Device], str]:
    """The same for devices of the past at `positions`: '' for one that was deleted since."""
    keys = [position.device_id for position in positions]
    there = {*Device.objects.filter(pk__in=keys).values_list("pk", flat=True)}
    link = device_link(request)
    return lambda device: link(device) if device.pk in there else ""
