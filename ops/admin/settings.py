"""The page of settings: the numbers that administrators change here, and what else they look for, with its source."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.html import format_html, format_html_join

from ops import operations, stored_settings
from ops.admin.base import IndexAdmin, new_run, require_administrator
from ops.admin.notifications import changes_url, explain
from ops.admin.settings_facts import facts, location_facts, long_run, notification_facts, schedule_facts
from ops.conf import conf
from ops.errors import OpsError
from ops.models import Backup, Run
from ops.operations.retention_preview import RetentionPreview
from ops.runs.context import get_context
from ops.runs.descriptions import describe
from ops.runs.setting_words import NUMBER_WORDS, name_of
from ops.stored_settings import NUMBERS, Effective, StoredSettings, StoredSettingsIgnored
from ops.utils.formatting import format_local, format_size, pluralize

PAGE = "admin:ops_settings"
SALT = "ops.admin.settings"
NAMED_BACKUPS = 20


@dataclass(frozen=True, kw_only=True)
class NumberPresenter:
    """A number on the page, with the field to change it; None if the project sets it."""

    effective: Effective
    field: forms.BoundField | None

    @property
    def before(self) -> str:
        return NUMBER_WORDS[self.effective.name][0]

    @property
    def after(self) -> str:
        return NUMBER_WORDS[self.effective.name][1]

    @property
    def mistakes(self) -> list[tuple[str, str, str]]:
        """The id of the field, its label, and what is wrong there."""
        errors = self.field.errors if self.field else ()
        return [(f"id_{self.effective.name}", name_of(self.effective.name), str(error)) for error in errors]

    @property
    def default(self) -> int:
        return int(getattr(conf, self.effective.name))

    @property
    def is_set_here(self) -> bool:
        return self.effective.source == "admin"


class NumbersForm(forms.Form):
    """A field for each number that the project does not set, with its value of this moment.

    The form also sends the values that it was shown with: only what the user has changed is a change, not what another
    user has changed meanwhile.
    """

    def __init__(self, stored: StoredSettings, data: Any = None) -> None:
        self.stored = stored
        self.numbers = [stored_settings.number(name, stored) for name in NUMBERS]
        changeable = [each for each in self.numbers if not each.is_fixed]
        super().__init__(data, initial={each.name: each.value for each in changeable})
        for each in changeable:
            self.fields[each.name] = number_field(each.name)

    def presenters(self) -> Iterator[NumberPresenter]:
        for each in self.numbers:
            yield NumberPresenter(effective=each, field=None if each.is_fixed else self[each.name])

    @property
    def changed(self) -> dict[str, int | None]:
        """The numbers that differ from those in force, of a valid form."""
        return {each.name: self.cleaned_data[each.name] for each in self.numbers if self.differs(each)}

    def differs(self, number: Effective) -> bool:
        return number.name in self.changed_data and self.cleaned_data[number.name] != number.value


def number_field(name: str) -> forms.IntegerField:
    least, most = NUMBERS[name]
    fault = f"Enter a whole number from {least:,} to {most:,}."
    field = forms.IntegerField(
        label=NUMBER_WORDS[name][0],
        min_value=least,
        max_value=most,
        show_hidden_initial=True,
        error_messages=dict.fromkeys(("required", "invalid", "min_value", "max_value"), fault),
        # A browser empties a field of numbers in which something else was typed.
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "ops-input ops-number-input", "maxlength": 9}),
    )
    field.widget.attrs["aria-describedby"] = f"id_{name}_about"
    return field


# --- The page ---------------------------------------------------------------------------------------------------------


def page(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    """For superusers. A change that lets the next pruning delete backups is confirmed first."""
    require_administrator(request)
    stored, ignored = stored_settings.read_with_fault()
    posted = request.POST if request.method == "POST" else None
    if posted and posted.get("default") in NUMBERS:
        return change(admin, request, NumbersForm(stored), ignored, {posted["default"]: None})
    if posted and posted.get("action") in {"save", "edit"}:
        form = NumbersForm(stored, posted)
        if posted["action"] == "save" and form.is_valid():
            return change(admin, request, form, ignored, form.changed)
        return show(admin, request, form, ignored)
    if posted is not None:
        return HttpResponseRedirect(reverse(PAGE))
    return show(admin, request, NumbersForm(stored), ignored)


def show(
    admin: IndexAdmin[Backup],
    request: HttpRequest,
    form: NumbersForm,
    ignored: StoredSettingsIgnored | None,
    error: str = "",
) -> HttpResponse:
    """The page, with an `error` that is of no single field. `ignored` is why the stored settings are not used."""
    # ``focus-mistake.js`` focuses the first.
    for position, name in enumerate(form.errors):
        form.fields[name].widget.attrs |= {"aria-describedby": f"id_{name}_about id_{name}_error"}
        if not position:
            form.fields[name].widget.attrs["autofocus"] = True
    numbers, policy = list(form.presenters()), stored_settings.policy_of(form.stored)
    return admin.render(
        request,
        "ops/admin/settings.html",
        title="Settings",
        ignored=ignored,
        error=error,
        form=form,
        numbers=numbers,
        mistakes=[mistake for each in numbers for mistake in each.mistakes],
        has_fixed=any(each.effective.is_fixed for each in numbers),
        has_changeable=any(not each.effective.is_fixed for each in numbers),
        long_run=long_run(policy),
        locations=location_facts(policy),
        notifications=notification_facts(form.stored),
        schedules=schedule_facts(form.stored),
        facts=facts(),
        changes_url=changes_url(),
        opts=None,
    )


# --- Changes ----------------------------------------------------------------------------------------------------------


def change(
    admin: IndexAdmin[Backup],
    request: HttpRequest,
    form: NumbersForm,
    ignored: StoredSettingsIgnored | None,
    numbers: Mapping[str, int | None],
) -> HttpResponse:
    """Save `numbers`, or ask first if the next pruning would delete more than without them."""
    try:
        context = get_context()
        preview = operations.preview_numbers(context, numbers)
        if not preview.keeps_all and not constant_time_compare(request.POST.get("seen", ""), digest(preview)):
            return confirm(admin, request, preview)
        result = operations.change_numbers(context, new_run(request, Run.Kind.SETTINGS), numbers)
    except (OpsError, OSError) as error:
        return show(admin, request, form, ignored, explain(error))
    if result.changes:
        saved = format_html_join(" ", "{}", ((sentence,) for sentence in describe(result)))
        messages.success(request, format_html("The settings were saved. {}", saved))
    else:
        messages.info(request, "No setting was changed.")
    return HttpResponseRedirect(reverse(PAGE))


def confirm(admin: IndexAdmin[Backup], request: HttpRequest, preview: RetentionPreview) -> HttpResponse:
    shown_with = (f"initial-{name}" for name in NUMBERS)
    entered = [(name, request.POST[name]) for name in (*NUMBERS, *shown_with, "default") if name in request.POST]
    return admin.render(
        request,
        "ops/admin/settings_confirm.html",
        title="Delete backups that are kept now?",
        lost=[describe_lost(lost.location, [*lost.manifests], lost.size) for lost in preview.lost],
        previous=preview.previous,
        long_run=long_run(preview.policy),
        entered=entered,
        seen=digest(preview),
        back=reverse(PAGE),
        opts=None,
    )


def describe_lost(location: str, manifests: list[Any], size: int) -> dict[str, Any]:
    newest, oldest = (f"{timezone.localtime(each.taken_at):%Y-%m-%d}" for each in (manifests[0], manifests[-1]))
    span = f"from {oldest} to {newest}" if oldest != newest else f"of {newest}"
    return {
        "summary": f"{pluralize(len(manifests), 'backup')} in {location}, {format_size(size)}, {span}",
        "backups": [
            (each.name, format_local(each.taken_at), format_size(each.size)) for each in manifests[:NAMED_BACKUPS]
        ],
        "more": max(0, len(manifests) - NAMED_BACKUPS),
    }


def digest(preview: RetentionPreview) -> str:
    """Names what a confirmation has shown: if more would be deleted by then, the page asks again."""
    names = [f"{lost.location} {manifest.id}" for lost in preview.lost for manifest in lost.manifests]
    previous = [preview.previous.name] if preview.previous else []
    return salted_hmac(SALT, "\n".join([*names, *previous]), algorithm="sha256").hexdigest()
