"""Positions as rows of another page: all devices of a rack, or the place of one device."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.forms import PaginationInlineFormSet

from homerack.inventory.admin.base import InventoryInline, number
from homerack.inventory.fit import find_misfits
from homerack.inventory.models import Device, Rack, RackPosition
from homerack.inventory.models.base import lock
from homerack.inventory.models.placement import with_sizes

if TYPE_CHECKING:
    from django.forms import BaseInlineFormSet

    FormSet = BaseInlineFormSet[RackPosition, Rack, ModelForm[RackPosition]]
else:
    FormSet = PaginationInlineFormSet


class ArrangementFormSet(FormSet):
    """The devices of a rack, checked as they will stand together: two of them may swap places in one go."""

    def _construct_form(self, i: int, **options: Any) -> "ModelForm[RackPosition]":
        form: ModelForm[RackPosition] = super()._construct_form(i, **options)  # type: ignore[misc]
        form.instance.checked_together = True
        return form

    def clean(self) -> None:
        super().clean()
        if self.instance.pk is not None and transaction.get_connection().in_atomic_block:
            lock(Rack.objects.filter(pk=self.instance.pk))
        staying = [form for form in self.forms if self.is_staying(form)]
        for form in staying:
            if form.has_changed():
                self.check(form, [other.instance for other in staying if other is not form])

    def is_staying(self, form: "ModelForm[RackPosition]") -> bool:
        """Whether `form` is filled in, so far without a fault, and not about to be deleted."""
        if form.errors or not form.instance.is_complete():
            return False
        return not self._should_delete_form(form)  # type: ignore[attr-defined]

    def check(self, form: "ModelForm[RackPosition]", others: list[RackPosition]) -> None:
        position = form.instance
        for message in self.objections(position, set(form.changed_data), others):
            form.add_error("start_u", message)

    def objections(self, position: RackPosition, changed: set[str], others: list[RackPosition]) -> list[str]:
        if not changed & {"device", "start_u"}:
            return []
        stored = position.stored_values()
        if stored.get("locked") and position.locked:
            return [f"{position.device} is locked at U{stored['start_u']}. Unlock it, save, and then move it."]
        if any(other.device == position.device for other in others):
            return [f"{position.device} is listed twice."]
        elsewhere = RackPosition.objects.filter(device=position.device).exclude(rack=self.instance.pk)
        if other := elsewhere.select_related("rack").first():
            return [f"{position.device} is in {other.rack} at U{other.start_u} already."]
        places = [other.place for other in others]
        return [misfit.message for misfit in find_misfits(position.place, self.instance.space, places)]


class RackPositionInline(InventoryInline[RackPosition, Rack]):
    """On a rack's page: what stands in it, from the top down."""

    model = RackPosition
    formset = ArrangementFormSet
    fields = ("start_u", "device", "height", "kind", "locked")
    readonly_fields = ("height", "kind")
    autocomplete_fields = ("device",)
    ordering = ("-start_u",)
    verbose_name_plural = "devices in this rack"
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[RackPosition]:
        return with_sizes(super().get_queryset(request))

    @admin.display(description="height")
    def height(self, position: RackPosition) -> str:
        return number(position.place.size.height_u, "U") if position.pk else "–"

    @admin.display(description="model")
    def kind(self, position: RackPosition) -> str:
        return position.device.kind if position.pk else "–"


class PlaceInline(InventoryInline[RackPosition, Device]):
    """On a device's page: where it is."""

    model = RackPosition
    fields = ("rack", "start_u", "locked")
    autocomplete_fields = ("rack",)
    max_num = 1
    verbose_name = "place in a rack"
    verbose_name_plural = "place in a rack"
    hide_title = True
