"""Copying reports each location as a stage of its own, whose progress ends at 100%."""

from pathlib import Path

import pytest

from ops import operations
from ops.models import Run
from ops.utils.progress import Progress, StageTimer
from tests.locations.support import DAY, NOW, Installation

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_location_is_a_stage_that_ends_at_its_total(tmp_path: Path) -> None:
    lab = Installation(tmp_path, {"name": "disk", "encrypted": False}, {"name": "usb", "encrypted": False})
    names = [lab.back_up(NOW - days * DAY, content=b"data" * 100_000) for days in range(3)]
    copied = Installation(tmp_path, {"name": "disk", "encrypted": False})
    copied.copy()
    lab.catalog.update_state("disk", lambda state: state.with_copy(names[0], None))
    timer, ends = StageTimer(), {}

    def follow(progress: Progress) -> None:
        timer.report(progress)
        assert timer.done <= timer.total
        ends[timer.stage] = (timer.done, timer.total)

    run = Run(kind=Run.Kind.COPY, requested_by="ada", arguments={})
    operations.copy_backups(lab.context, run, follow)

    sizes = [lab.catalog.get(name).require_manifest().size for name in names]
    assert ends == {
        "copy to disk": (sizes[0], sizes[0]),  # only read: the file is there
        "copy to usb": (2 * sum(sizes), 2 * sum(sizes)),
    }
    assert [stage["stage"] for stage in Run.objects.get(pk=run.pk).stages] == [*ends]


def test_location_that_cannot_be_used_is_a_stage(tmp_path: Path) -> None:
    lab = Installation(tmp_path, {"name": "disk", "encrypted": False, "url": "/proc/nothing"})
    lab.back_up()

    lab.copy()

    assert [stage["stage"] for stage in Run.objects.get(kind=Run.Kind.COPY).stages] == ["copy to disk"]
