"""Cables between the ports of devices."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from homerack.inventory.models.base import LegacyFields, lock, validate_positive
from homerack.inventory.models.choices import CableType, RoutingPath
from homerack.inventory.models.devices import Device
from homerack.ordering import Alphabetical

TWO_PORTS = "A cable from a device to itself needs two different ports."


class Cable(LegacyFields):
    """One cable. A port takes one; ports without a name are not looked at."""

    from_device = models.ForeignKey(
        Device, on_delete=models.CASCADE, related_name="cables_from", verbose_name="from device"
    )
    from_port = models.CharField("from port", null=True, blank=True)
    to_device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="cables_to", verbose_name="to device")
    to_port = models.CharField("to port", null=True, blank=True)
    cable_type = models.CharField(
        "type", max_length=20, choices=CableType, default=CableType.CAT6, null=True, blank=True
    )
    calculated_length_m = models.FloatField("length (m)", null=True, blank=True, validators=[validate_positive])
    routing_path = models.CharField(
        "routing", max_length=20, choices=RoutingPath, default=RoutingPath.DIRECT, null=True, blank=True
    )

    class Meta:
        base_manager_name = "objects"
        db_table = "connections"
        ordering = (Alphabetical("from_device__custom_name"), Alphabetical("from_port").asc(nulls_last=True), "pk")

    def __str__(self) -> str:
        return f"{describe_end(self.from_device, self.from_port)} to {describe_end(self.to_device, self.to_port)}"

    def clean(self) -> None:
        super().clean()
        if not self.changed_fields() & {"from_device", "from_port", "to_device", "to_port"}:
            return
        if not hasattr(self, "from_device") or not hasattr(self, "to_device"):
            return  # said at the field already
        if self.from_device == self.to_device and same_port(self.from_port, self.to_port):
            raise ValidationError({"to_port": TWO_PORTS})
        self.refuse_taken_ports()

    def refuse_taken_ports(self) -> None:
        changed = self.changed_fields()
        errors = {}
        for side in ("from", "to"):
            device, port = getattr(self, f"{side}_device"), getattr(self, f"{side}_port")
            if changed & {f"{side}_device", f"{side}_port"} and (other := self.find_at(device, port)):
                errors[f"{side}_port"] = taken_message(device, port, other)
        if errors:
            raise ValidationError(errors)

    def find_at(self, device: Device, port: str | None) -> "Cable | None":
        """Another cable in that port. Names of ports differ by more than upper and lower case."""
        if device.pk is None or not port:
            return None
        there = Q(from_device=device, from_port__iexact=port) | Q(to_device=device, to_port__iexact=port)
        cables = Cable.objects.filter(there).exclude(pk=self.pk).select_related("from_device", "to_device")
        return cables.first()

    def lock_rows(self) -> None:
        lock(Device.objects.filter(pk__in={self.from_device_id, self.to_device_id}))


def taken_message(device: object, port: str | None, other: object) -> str:
    return f"{device} has a cable in {port} already: {other}."


def same_port(one: str | None, other: str | None) -> bool:
    return (one or "").casefold() == (other or "").casefold()


def describe_end(device: object, port: str | None) -> str:
    return f"{device} · {port}" if port else str(device)
