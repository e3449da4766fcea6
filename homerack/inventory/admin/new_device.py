"""The form that adds devices: one or several, with their model by its name, and their place in a rack.

Users type the names of the brand, the model and the type. Existing rows of these names are taken; others are added with
the device, in the same transaction. All mistakes are found before anything is saved.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from homerack.autocomplete import SafeAutocompleteSelect
from homerack.inventory.admin.base import InventoryForm
from homerack.inventory.models import Brand, Device, DeviceModel, DeviceType, Rack, RackPosition
from homerack.inventory.models.positions import FIELDS, find_violations, raise_placement_errors
from homerack.inventory.names import free_slug, numbered_names
from homerack.inventory.placement import MAX_HEIGHT_U

NamedT = TypeVar("NamedT", bound=Brand | DeviceType)

MAX_DEVICES = 100
"""As many as the tallest rack takes."""
MAX_SUGGESTIONS = 1000
"""Names that a field suggests."""
RACK_FIELDS = {found: "rack" if name == "device" else name for found, name in FIELDS.items()}
"""The field that shows an error of each kind: what is wrong with the device's size is said at the rack."""


class SuggestingInput(UnfoldAdminTextInputWidget):  # type: ignore[misc]  # has no types
    """A field for text with a list of names to choose from, which the browser shows while one types."""

    def __init__(self, suggestions: Callable[[], Iterable[str]], **attrs: Any) -> None:
        super().__init__({"autocomplete": "off", **attrs})
        self.suggestions = suggestions

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        listed = f"{(attrs or {}).get('id', name)}_suggestions"
        field = super().render(name, value, {**(attrs or {}), "list": listed}, renderer)
        options = format_html_join("", '<option value="{}"></option>', ((text,) for text in self.suggestions()))
        return format_html('{}<datalist id="{}">{}</datalist>', field, listed, options)


def names_of(rows: Any) -> Callable[[], Iterable[str]]:
    return lambda: rows.objects.values_list("name", flat=True)[:MAX_SUGGESTIONS]


def may_place(user: Any) -> bool:
    return bool(user.has_perms(("inventory.add_rackposition", "inventory.view_rack")))


class NewDeviceForm(InventoryForm[Device]):
    """`user` is set by the admin class. What the user may not add has to exist, or has no field."""

    user: ClassVar[Any]

    number = forms.IntegerField(
        label="Number of devices",
        initial=1,
        min_value=1,
        max_value=MAX_DEVICES,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="More than one get numbered names: node-01 and 12 devices make node-01 to node-12.",
    )
    brand = forms.CharField(label="Brand", max_length=200, widget=SuggestingInput(names_of(Brand)))
    product = forms.CharField(
        label="Model",
        max_length=300,
        widget=SuggestingInput(list),
        help_text="Choose one of the brand, or type the name of a new one.",
    )
    device_type = forms.CharField(
        label="Type",
        max_length=100,
        required=False,
        widget=SuggestingInput(names_of(DeviceType)),
        help_text="For a new model. Examples: Server, Switch.",
    )
    height_u = forms.FloatField(
        label="Height (U)",
        required=False,
        max_value=MAX_HEIGHT_U,
        widget=UnfoldAdminDecimalFieldWidget({"step": "any"}),
        help_text="For a new model; 1 if empty. 0 for zero-U devices, such as vertical power strips.",
    )
    rack = forms.ModelChoiceField(
        Rack.objects.all(),
        label="Rack",
        required=False,
        widget=SafeAutocompleteSelect(RackPosition._meta.get_field("rack"), admin.site),
        help_text="Leave it empty for a device that is not in a rack.",
    )
    start_u = forms.IntegerField(
        label="Lowest unit",
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Units are numbered from 1 at the bottom. Several devices are placed one above another.",
    )

    class Media:
        js = ("inventory/new-device.js",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not may_place(self.user):
            del self.fields["rack"], self.fields["start_u"]
        self.model = DeviceModel()
        self.positions: list[RackPosition] = []
        self.added: list[Any] = []
        """What was saved besides the first device, in the order of its creation."""

    # --- Checks -----------------------------------------------------------------------------------------------------
    def _post_clean(self) -> None:
        """Fill in the rows, and let their rules find mistakes. Nothing is saved."""
        brand = self.named(Brand, "brand")
        self.model = self.find_model(brand) or self.new_model(brand)
        self.instance.model = self.model
        super()._post_clean()
        self.check_serial_number()
        self.place()

    def named(self, kind: type[NamedT], field: str) -> NamedT:
        """The row that is named in `field`, or a new one."""
        name = self.cleaned_data.get(field) or ""
        found: list[NamedT] = list(kind.objects.filter(name__iexact=name)) if name else []  # type: ignore[arg-type]
        if found:
            return min(found, key=lambda row: row.name != name)
        row = kind(name=name, slug=free_slug(kind, name, {*kind.objects.values_list("slug", flat=True)}))
        if name and self.may_add(row, field, name):
            self.check(row, {"name": field, "slug": field})
        return row

    def may_add(self, row: Any, field: str, name: str) -> bool:
        """Whether the user may add such a row; if not, `field` says so."""
        options = row._meta
        if self.user.has_perm(f"inventory.add_{options.model_name}"):
            return True
        message = f"There is no {options.verbose_name} “{name}”, and you may not add {options.verbose_name_plural}."
        self.add_error(field, f"{message} Choose an existing one.")
        return False

    def check(self, row: Any, fields: dict[str, str], *, exclude: Iterable[str] = ()) -> None:
        """Show the rules that `row` breaks, at the form's field for each field of the row."""
        try:
            row.full_clean(exclude=exclude)
        except ValidationError as error:
            for name, messages in error.message_dict.items():
                self.add_error(fields.get(name, fields["name"]), messages)

    def find_model(self, brand: Brand) -> DeviceModel | None:
        """The brand's model of that name, if there is one."""
        text = self.cleaned_data.get("product") or ""
        if brand.pk is None or not text:
            return None
        rows = DeviceModel.objects.filter(brand=brand).select_related("brand", "device_type")
        found = sorted(rows.filter(labelled(text)), key=lambda model: model.name_and_variant != text)
        if found:
            self.compare(found[0])
            return found[0]
        variants = [model.name_and_variant for model in rows.filter(name__iexact=text)]
        if variants:
            self.add_error("product", f"{brand} has {text} with these variants. Enter one of: {'; '.join(variants)}.")
        return None

    def compare(self, model: DeviceModel) -> None:
        """Refuse a type or a height that an existing model does not have: the form does not change it."""
        kind, height = self.cleaned_data.get("device_type"), self.cleaned_data.get("height_u")
        if kind and kind.casefold() != model.device_type.name.casefold():
            self.add_error("device_type", f"{model} has the type {model.device_type}. Leave this empty.")
        if height is not None and height != model.height_u:
            self.add_error("height_u", f"{model} has {model.height_u:g} U. Leave this empty.")

    def new_model(self, brand: Brand) -> DeviceModel:
        name, height = self.cleaned_data.get("product") or "", self.cleaned_data.get("height_u")
        model = DeviceModel(name=name, brand=brand, device_type=self.named(DeviceType, "device_type"))
        model.height_u = model.height_u if height is None else height
        if not name or "product" in self.errors or not self.may_add(model, "product", name):
            return model
        if not self.cleaned_data.get("device_type") and "device_type" not in self.errors:
            self.add_error("device_type", "Enter the type of the new model.")
        new = {field for field in ("brand", "device_type") if getattr(model, field).pk is None}
        exclude = {*new, *(["height_u"] if "height_u" in self.errors else [])}
        self.check(model, {"name": "product", "height_u": "height_u"}, exclude=exclude)
        return model

    def check_serial_number(self) -> None:
        if self.cleaned_data.get("serial_number") and (self.cleaned_data.get("number") or 1) > 1:
            self.add_error("serial_number", "Each device has its own. Leave this empty, and enter them afterwards.")

    def place(self) -> None:
        """Make the positions, and compare them with what is in the rack."""
        rack, unit = self.cleaned_data.get("rack"), self.cleaned_data.get("start_u")
        errors = {*self.errors}
        if unit is not None and rack is None and "rack" in self.fields and "rack" not in errors:
            self.add_error("rack", "Choose the rack of this unit, or leave the unit empty.")
        if rack is not None and unit is None and "start_u" not in errors:
            self.add_error("start_u", "Enter the lowest unit, or leave the rack empty.")
        if rack is None or unit is None:
            return
        try:
            RackPosition(rack=rack, start_u=unit).clean_fields(exclude={"device"})
        except ValidationError as error:
            self.add_error("start_u", error.message_dict["start_u"])
            return
        self.positions = list(self.stack(rack, unit))
        if "height_u" not in errors and "product" not in errors:
            self.check_space()

    def stack(self, rack: Rack, unit: int) -> Iterable[RackPosition]:
        """The positions of the devices, from the bottom up."""
        model = self.model
        for name in self.names():
            yield RackPosition(device=Device(custom_name=name, model=model), rack=rack, start_u=unit)
            unit += math.ceil(model.height_u)

    def check_space(self) -> None:
        try:
            raise_placement_errors(find_violations(self.positions), RACK_FIELDS)
        except ValidationError as error:
            for field, messages in error.message_dict.items():
                self.add_error(field, messages)

    def names(self) -> list[str]:
        return numbered_names(self.cleaned_data.get("custom_name") or "", self.cleaned_data.get("number") or 1)

    # --- After the checks -------------------------------------------------------------------------------------------
    def save_all(self) -> None:
        """Save what is new, each row by its rules. Called in the transaction of the request."""
        model = self.model
        for field in ("brand", "device_type"):
            row = getattr(model, field)
            if row.pk is None:
                self.add(row)
            setattr(model, field, row)
        if model._state.adding:
            self.add(model)
        self.instance.model = model
        first, *names = self.names()
        self.instance.custom_name = first
        self.instance.save()
        devices = [self.instance, *(self.add(self.copy(name)) for name in names)]
        for device, position in zip(devices, self.positions, strict=False):
            position.device = device
            position.save()

    def add(self, row: Any) -> Any:
        row.save()
        self.added.append(row)
        return row

    def copy(self, name: str) -> Device:
        shared = {field: getattr(self.instance, field) for field in ("model", "access_frequency", "notes")}
        return Device(custom_name=name, **shared)

    def describe_added(self) -> str:
        """A sentence about what was added besides the first device; empty if nothing was."""
        devices = [row for row in self.added if isinstance(row, Device)]
        parts = [f"the {row._meta.verbose_name} {row}" for row in self.added if not isinstance(row, Device)]
        if devices:
            span = f"{devices[0]} to {devices[-1]}" if len(devices) > 1 else f"{devices[0]}"
            parts.append(f"{len(devices)} more device{'s' if len(devices) > 1 else ''}: {span}")
        return f"Also added: {', '.join(parts)}." if parts else ""


def labelled(text: str) -> Q:
    """The models of a brand whose name and variant make up `text`, in upper or lower case."""
    wanted = Q(name__iexact=text) & (Q(variant=None) | Q(variant=""))
    parts = text.split(", ")
    for index in range(1, len(parts)):
        wanted |= Q(name__iexact=", ".join(parts[:index]), variant__iexact=", ".join(parts[index:]))
    return wanted
