"""The page that imports device types: files or a text, then the plan, then the import.

Between the two steps, what was read stays in the form of the plan, signed. Nothing is kept on the server.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from django import forms
from django.contrib import messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_protect
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from homerack.inventory.imports.device_types.planning import NEEDED, import_device_types, plan_device_types
from homerack.inventory.imports.device_types.reading import Found, SourceFile, read_device_types
from homerack.inventory.imports.device_types.sources import files_of
from homerack.inventory.imports.plan import ImportRefused, Plan, PlanChanged, PlannedRow
from homerack.inventory.imports.refusals import Refused
from homerack.inventory.models import Brand, DeviceModel, DeviceType
from homerack.uploads import FilesInMemory

MAX_UPLOAD = 20_000_000
"""Bytes of all files of a form."""

PASTED = "pasted text"
SALT = "homerack.inventory.device_types"
MAX_AGE = dt.timedelta(hours=12)
MAX_SIGNED = 900_000
"""Characters of the form of a plan. A form may have 1 MB (`DATA_UPLOAD_MAX_MEMORY_SIZE`)."""


def may_import(user: Any) -> bool:
    return bool(user.has_perms(NEEDED))


def import_page(admin: Any, request: HttpRequest) -> HttpResponse:
    """The upload handler must be set before the form is read, and so before the CSRF token is checked."""
    if not may_import(request.user):
        raise PermissionDenied
    handler = FilesInMemory(request, MAX_UPLOAD)
    request.upload_handlers = [handler]
    response: HttpResponse = csrf_protect(lambda checked: ImportPage(admin, checked, handler).respond())(request)
    return response


class DeviceTypesForm(forms.Form):
    """Files are read from the request: a form may have any number of them."""

    text = forms.CharField(
        label="Or paste one or more device types",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 10, "spellcheck": "false", "autocomplete": "off"}),
        help_text="YAML. A line with --- separates device types.",
    )
    device_type = forms.ModelChoiceField(
        DeviceType.objects.all(),
        label="Type of the new models",
        required=False,
        empty_label="Guess it for each model",
        widget=UnfoldAdminSelectWidget,
        help_text="The files do not name it. A guess is shown before anything is imported; what is unclear is “Other”.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upload:
    """What was read, and how it is to be imported."""

    results: list[Found | Refused]
    device_type: DeviceType | None

    def sign(self, user: Any, plan: Plan[PlannedRow]) -> str:
        value = {
            "found": [dataclasses.asdict(each) for each in self.results if isinstance(each, Found)],
            "refused": [dataclasses.asdict(each) for each in self.results if isinstance(each, Refused)],
            "device_type": self.device_type and self.device_type.pk,
            "plan": plan.digest,
        }
        return signing.dumps(value, salt=f"{SALT}.{user.pk}", compress=True)

    @classmethod
    def unsign(cls, user: Any, text: str) -> tuple["Upload", str]:
        """Also the digest of the plan that the user has seen. Raises BadSignature."""
        value = signing.loads(text, salt=f"{SALT}.{user.pk}", max_age=MAX_AGE)
        results: list[Found | Refused] = [Found(**each) for each in value["found"]]
        results += [Refused(**each) for each in value["refused"]]
        chosen = DeviceType.objects.filter(pk=value["device_type"]).first() if value["device_type"] else None
        return cls(results=results, device_type=chosen), value["plan"]


class ImportPage:
    def __init__(self, admin: Any, request: HttpRequest, handler: FilesInMemory) -> None:
        self.admin, self.request, self.handler = admin, request, handler

    def respond(self) -> HttpResponse:
        if self.request.method != "POST":
            return self.show_form(DeviceTypesForm())
        if signed := self.request.POST.get("upload"):
            return self.carry_out(signed)
        return self.read()

    # --- Steps ---------------------------------------------------------------------------------------------------
    def read(self) -> HttpResponse:
        """The plan for what the form has."""
        form = DeviceTypesForm(self.request.POST)
        files = self.request.FILES.getlist("files")
        if self.handler.is_too_large:
            return self.show_form(form, f"The files have more than {MAX_UPLOAD // 1_000_000} MB. Nothing was kept.")
        if not form.is_valid():
            return self.show_form(form)
        text = form.cleaned_data["text"]
        if not files and not text:
            return self.show_form(form, "Choose a file, or paste a text.")
        results = read_device_types(sources(files, text))
        return self.show_plan(Upload(results=results, device_type=form.cleaned_data["device_type"]))

    def carry_out(self, signed: str) -> HttpResponse:
        try:
            upload, seen = Upload.unsign(self.request.user, signed)
        except signing.BadSignature:
            messages.error(self.request, "The preview is too old. Nothing was imported. Choose the files again.")
            return HttpResponseRedirect(self.request.path)
        overwrite = "overwrite" in self.request.POST and self.may_change
        try:
            plan = import_device_types(upload.results, device_type=upload.device_type, overwrite=overwrite, seen=seen)
        except PlanChanged:
            messages.warning(
                self.request,
                "The catalogue has changed since the preview. Nothing was imported. This is the new preview.",
            )
            return self.show_plan(upload)
        except ImportRefused as error:
            messages.error(self.request, f"Nothing was imported. {error}")
            return self.show_plan(upload)
        done = plan.describe(changed=overwrite)
        messages.success(self.request, f"Imported {done}." if done else "Nothing was imported.")
        return HttpResponseRedirect(reverse("admin:inventory_devicemodel_changelist"))

    @property
    def may_change(self) -> bool:
        return bool(self.request.user.has_perm("inventory.change_devicemodel"))

    # --- Pages ---------------------------------------------------------------------------------------------------
    def show_form(self, form: DeviceTypesForm, mistake: str = "") -> HttpResponse:
        if mistake:
            form.is_valid()
            form.add_error(None, mistake)
        limit = f"{MAX_UPLOAD // 1_000_000} MB"
        return self.render("form", {"form": form, "limit": limit}, status=422 if form.errors else 200)

    def show_plan(self, upload: Upload) -> HttpResponse:
        plan = plan_device_types(upload.results, device_type=upload.device_type)
        signed = upload.sign(self.request.user, plan)
        context = {
            "plan": plan,
            "upload": signed,
            "is_too_large": len(signed) > MAX_SIGNED,
            "types": plan.new(DeviceType),
            "brands": plan.new(Brand),
            "groups": by_brand(plan.new(DeviceModel)),
            "models": plan.new(DeviceModel),
            "chosen": upload.device_type,
            "may_change": self.may_change,
        }
        return self.render("plan", context)

    def render(self, name: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
        frame = self.admin.admin_site.each_context(self.request)
        shared = {
            "opts": self.admin.opts,
            "title": "Import device types",
            "back": reverse("admin:inventory_devicemodel_changelist"),
        }
        template = f"admin/inventory/devicemodel/import_{name}.html"
        return TemplateResponse(self.request, template, {**frame, **shared, **context}, status=status)


def sources(files: Iterable[Any], text: str) -> Iterator[SourceFile | Refused]:
    """The uploaded files, then the pasted text."""
    yield from chain.from_iterable(files_of(file.name, file.file) for file in files)
    if text:
        yield SourceFile(name=PASTED, content=text.encode())


def by_brand(rows: Iterable[PlannedRow]) -> list[tuple[str, list[PlannedRow]]]:
    """In the order of the alphabet."""
    groups: dict[str, list[PlannedRow]] = {}
    for row in rows:
        groups.setdefault(str(getattr(row.instance, "brand", "")), []).append(row)
    return sorted(groups.items(), key=lambda group: group[0].casefold())
