"""The admin pages of django-celery-beat, on unfold's classes, with the next run and the last result of a schedule."""

import datetime as dt
import logging
from typing import Any

from django.contrib import admin, messages
from django.db.models import Case, CharField, OuterRef, QuerySet, Subquery, Value, When
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_celery_beat import admin as beat
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from kombu.exceptions import OperationalError
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from ops.errors import PreconditionFailed
from ops.models import Run
from ops.schedules import timetable
from ops.tasks import require_redis
from ops.utils.formatting import format_datetime
from ops.utils.redis_client import redis_errors

logger = logging.getLogger(__name__)

KINDS = {
    "ops.tasks.back_up": Run.Kind.BACKUP,
    "ops.tasks.prune": Run.Kind.PRUNE,
    "ops.tasks.restore_test": Run.Kind.RESTORE_TEST,
    "ops.tasks.drop_expired_previous": Run.Kind.DROP_PREVIOUS,
}
"""The kind of the runs that each task starts."""
RESULT_COLORS = {
    Run.Status.SUCCEEDED: "success",
    Run.Status.RUNNING: "info",
    Run.Status.FAILED: "danger",
    Run.Status.INTERRUPTED: "danger",
    Run.Status.CANCELLED: "warning",
}

for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)


class TaskSelect(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    pass


class ScheduleForm(beat.PeriodicTaskForm):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "task" in self.fields:  # missing for users who may only view the schedule
            self.fields["regtask"].widget = TaskSelect()
            self.fields["task"].widget = UnfoldAdminTextInputWidget()


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(beat.PeriodicTaskAdmin, ModelAdmin[PeriodicTask]):
    form = ScheduleForm
    # The template of django-celery-beat adds an inline script, which the Content-Security-Policy blocks.
    change_form_template = None
    list_display = ("name", "schedule_text", "next_run", "last_start", "last_result", "enabled")
    list_filter = ("enabled", "task")
    list_filter_sheet = False
    empty_value_display = "–"
    date_hierarchy = None
    ordering = ("name",)
    actions = ("enable_tasks", "disable_tasks", "run_tasks")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Only for users who may change schedules; django-celery-beat offers them to all who may view the list."""
        return super().get_actions(request) if self.has_change_permission(request) else {}

    @admin.action(description="Run selected tasks")
    def run_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        """Start the tasks, or show an error: without Redis the original waits long and then answers with status 500."""
        try:
            require_redis()
            super().run_tasks(request, queryset)
        except PreconditionFailed as error:
            self.message_user(request, f"{error.message} {error.hint}", messages.ERROR)
        except (OperationalError, redis_errors(), RuntimeError):  # RuntimeError: Celery's result backend
            logger.exception("Not all of these tasks could be sent.")
            self.message_user(request, "Not all tasks were started: Redis no longer answers.", messages.ERROR)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PeriodicTask]:
        """With the status of the newest run of the kind that each task starts, whoever requested it."""
        kind = Case(*(When(task=task, then=Value(kind)) for task, kind in KINDS.items()), output_field=CharField())
        newest = Run.objects.filter(kind=OuterRef("kind")).exclude(status=Run.Status.QUEUED).order_by("-requested_at")
        tasks: Any = super().get_queryset(request)
        return tasks.annotate(kind=kind).annotate(result=Subquery(newest.values("status")[:1]))  # type: ignore[no-any-return]

    @admin.display(description="schedule")
    def schedule_text(self, task: PeriodicTask) -> str:
        return str(task.crontab.human_readable if task.crontab else task.scheduler or "none")

    @admin.display(description="next run")
    def next_run(self, task: PeriodicTask) -> SafeString | str:
        due = timetable.next_run(task)
        if due is None:
            return "never"
        if due + timetable.GRACE_PERIOD < timezone.now():
            return format_html('<span class="schedule-missed">missed: {}</span>', format_datetime(due))
        return format_moment(due)

    @admin.display(description="last start", ordering="last_run_at")
    def last_start(self, task: PeriodicTask) -> SafeString | str:
        return format_moment(task.last_run_at) if task.last_run_at else "never"

    @display(description="last result", label=RESULT_COLORS)
    def last_result(self, task: PeriodicTask) -> str | None:
        return task.result  # type: ignore[no-any-return]  # annotated


class TasksOfSchedule(beat.PeriodicTaskInline, TabularInline[PeriodicTask, Any]):
    fields = readonly_fields = ("name", "task")
    tab = False


class ScheduleAdmin(ModelAdmin[Any]):
    inlines = (TasksOfSchedule,)


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(ScheduleAdmin):
    pass


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(beat.CrontabScheduleAdmin, ScheduleAdmin):
    list_display = ("human_readable", "timezone")
    inlines = (TasksOfSchedule,)


@admin.register(SolarSchedule)
class SolarScheduleAdmin(ScheduleAdmin):
    pass


@admin.register(ClockedSchedule)
class ClockedScheduleAdmin(ScheduleAdmin):
    pass


def format_moment(when: dt.datetime) -> SafeString:
    """A time with its zone, without a line break."""
    return format_html('<span class="moment">{}</span>', format_datetime(when))
