"""Rack positions as rows of other pages: all devices of a rack, or the position of one device."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.forms import PaginationInlineFormSet

from homerack.inventory.admin.base import InventoryForm, InventoryInline, number
from homerack.inventory.models import Device, Rack, RackPosition
from homerack.inventory.models.base import lock
from homerack.inventory.models.positions import FIELDS, locked_message, with_sizes
from homerack.inventory.placement import find_placement_errors

if TYPE_CHECKING:
    from django.forms import BaseInlineFormSet

    FormSet = BaseInlineFormSet[RackPosition, Rack, ModelForm[RackPosition]]
else:
    FormSet = PaginationInlineFormSet


class RackLayoutFormSet(FormSet):
    """The devices of a rack, validated together: two devices can swap their positions in one save."""

    def _construct_form(self, i: int, **options: Any) -> "ModelForm[RackPosition]":
        form: ModelForm[RackPosition] = super()._construct_form(i, **options)  # type: ignore[misc]
        form.instance.validated_by_formset = True
        return form

    def clean(self) -> None:
        super().clean()
        if self.instance.pk is not None and transaction.get_connection().in_atomic_block:
            lock(Rack.objects.filter(pk=self.instance.pk))
        kept = [form for form in self.forms if self.is_kept(form)]
        moved = [form for form in kept if not {"device", "start_u"}.isdisjoint(form.changed_data)]
        for index, form in enumerate(moved):
            # Of two rows that do not go together, the lower one says so.
            others = [other.instance for other in kept if other not in moved[index:]]
            for field, message in self.find_errors(form.instance, others):
                form.add_error(field, message)

    def is_kept(self, form: "ModelForm[RackPosition]") -> bool:
        """Whether `form` is complete, has no errors so far, and is not marked for deletion."""
        if form.errors or not form.instance.is_complete():
            return False
        return not self._should_delete_form(form)  # type: ignore[attr-defined]

    def find_errors(self, position: RackPosition, others: list[RackPosition]) -> list[tuple[str, str]]:
        """The fields and messages of the rules that `position` breaks next to `others`, as they will be saved."""
        stored = position.stored_values()
        if stored.get("locked") and position.locked:
            return [("start_u", locked_message(position.device, stored["start_u"]))]
        if any(other.device == position.device for other in others):
            return [("device", f"{position.device} is listed twice.")]
        in_other_racks = RackPosition.objects.filter(device=position.device).exclude(rack=self.instance.pk)
        if other := in_other_racks.select_related("rack").first():
            return [("device", f"{position.device} is in {other.rack} at U{other.start_u} already.")]
        placements = [other.placement for other in others]
        errors = find_placement_errors(position.placement, self.instance.space, placements)
        return [(FIELDS[error.dimension], error.message) for error in errors]


class RackPositionInline(InventoryInline[RackPosition, Rack]):
    """On a rack's page: its devices from the top down."""

    model = RackPosition
    formset = RackLayoutFormSet
    fields = ("start_u", "device", "height", "kind", "locked")
    readonly_fields = ("height", "kind")
    autocomplete_fields = ("device",)
    ordering = ("-start_u", "pk")
    verbose_name_plural = "devices in this rack"
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[RackPosition]:
        return with_sizes(super().get_queryset(request)).prefetch_related("device__positions__rack")

    @admin.display(description="Height")
    def height(self, position: RackPosition) -> str:
        return number(position.placement.size.height_u, "U") if position.pk else "–"

    @admin.display(description="Model")
    def kind(self, position: RackPosition) -> str:
        return str(position.device.model) if position.pk else "–"


class DevicePositionForm(InventoryForm[RackPosition]):
    """Of the device's page, which has no field for the device: what is wrong with it is said at the rack."""

    def _update_errors(self, errors: ValidationError) -> None:
        if hasattr(errors, "error_dict") and (about_device := errors.error_dict.pop("device", None)):
            errors.error_dict.setdefault("rack", []).extend(about_device)
        super()._update_errors(errors)


class DevicePositionInline(InventoryInline[RackPosition, Device]):
    """On a device's page: its rack and unit."""

    model = RackPosition
    form = DevicePositionForm
    fields = ("rack", "start_u", "locked")
    autocomplete_fields = ("rack",)
    max_num = 1
    verbose_name = "rack position"
    verbose_name_plural = "rack position"
    hide_title = True
