"""The form of one schedule: whether it is on, its time, how often it repeats, and its days."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.http import QueryDict
from django.utils.safestring import SafeString

from ops.schedules.builtin import WEEKDAYS, BuiltIn, Timing

REPEATS = {24: "once a day", **{hours: f"every {hours} hours" for hours in (12, 8, 6, 4, 3, 2)}, 1: "every hour"}
TIMES = ("%H:%M", "%H:%M:%S")
"""The second is that of the hidden value."""
NO_TIME = "Enter a time from 00:00 to 23:59, such as 02:00."
NO_DAY = "Choose at least one day."


class TimingForm(forms.Form):
    """What users enter for one schedule.

    The form also sends the values that it was shown with: only what the user has changed is a change, not what another
    user has changed meanwhile.
    """

    use_required_attribute = False

    enabled = forms.BooleanField(label="On", required=False, show_hidden_initial=True)
    time = forms.TimeField(
        label="Time",
        input_formats=TIMES,
        show_hidden_initial=True,
        error_messages={"required": NO_TIME, "invalid": NO_TIME},
    )
    every_hours = forms.TypedChoiceField(
        label="Repeat",
        coerce=int,
        choices=list(REPEATS.items()),
        show_hidden_initial=True,
        error_messages={"required": "Choose how often.", "invalid_choice": "Choose one of the list."},
    )
    days = forms.TypedMultipleChoiceField(
        label="Days",
        coerce=int,
        choices=list(WEEKDAYS.items()),
        widget=forms.CheckboxSelectMultiple,
        show_hidden_initial=True,
        error_messages={"required": NO_DAY, "invalid_choice": "Choose days of the week."},
    )

    def __init__(self, schedule: BuiltIn, timing: Timing, data: QueryDict | None = None) -> None:
        super().__init__(data, prefix=schedule.short_name, initial=initial_of(timing))
        self.schedule = schedule
        self.fields["enabled"].widget.attrs = {"class": "ops-switch", "role": "switch"}
        self.fields["time"].widget = forms.TimeInput(format="%H:%M", attrs={"type": "time", "class": "ops-input"})
        self.fields["every_hours"].widget.attrs = {"class": "ops-input"}

    def clean_time(self) -> dt.time:
        time: dt.time = self.cleaned_data["time"]
        if time.second:
            raise forms.ValidationError(NO_TIME)
        return time

    def timing(self) -> Timing:
        """What was entered into a valid form."""
        entered = self.cleaned_data
        return Timing(
            enabled=entered["enabled"],
            hour=entered["time"].hour,
            minute=entered["time"].minute,
            every_hours=entered["every_hours"],
            days=tuple(sorted(entered["days"])),
        )

    @property
    def shown_days(self) -> SafeString:
        """The hidden fields with the days that the form was shown with."""
        days: BoundField = self["days"]
        return days.as_hidden(only_initial=True)

    def mistakes(self) -> Iterator[tuple[str, str, str]]:
        """For each: the id of its field, the schedule with the field, and the message."""
        for name, messages in self.errors.items():
            field = self[name]
            for message in messages:
                yield focus_id(field), f"{self.schedule.name}: {field.label}", str(message)


def initial_of(timing: Timing) -> dict[str, Any]:
    """The values of its fields."""
    return {
        "enabled": timing.enabled,
        "time": dt.time(timing.hour, timing.minute),
        "every_hours": timing.every_hours,
        "days": list(timing.days),
    }


def focus_id(field: BoundField) -> str:
    """Of its element, or of the first one of a group."""
    return field.id_for_label or f"{field.auto_id}_0"


def focus_first_mistake(found: Iterable[TimingForm]) -> None:
    """Let ``focus-mistake.js`` focus the first field with a mistake."""
    for form in found:
        for name in form.errors:
            form.fields[name].widget.attrs["autofocus"] = True
            return
