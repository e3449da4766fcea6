"""Restore tests: a copy of a backup is restored into a scratch database, compared, measured and reported."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from ops.backups import verify
from ops.backups.locations.survey import Survey, fault_of_manifest, key_of, survey
from ops.backups.manifest import Level, Verification
from ops.backups.record import BackupRecord
from ops.backups.reports import Report, RestoreTest, facts_of, report_name, write_report
from ops.backups.sources import Reading
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed
from ops.models import Run
from ops.operations.copy_faults import CopyUnreachable, listing, reachable
from ops.operations.verify import finish, first_reachable, readable_source, record_if_signed, require_engines
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import VerificationResult
from ops.utils import clock
from ops.utils.progress import Progress, Stage
from ops.utils.redaction import redact


@operation(Run.Kind.RESTORE_TEST)
def restore_test(
    context: OpsContext, run: RunRecorder, *, names: Sequence[str] = (), location: str = "", farthest: bool = False
) -> VerificationResult:
    """Restore backups into a scratch database, compare, and record and report the outcomes.

    The copies in the storage location `location` are read, or the nearest good ones that can be reached. With
    `farthest` it is the newest verified backup of the location that is farthest away and answers.

    Raises ArtifactInvalid for a backup of another kind of database, and CopyUnreachable.
    """
    context.engine.require_writable()
    require_engines(context, names)
    tests = [test_the_farthest(context, run)] if farthest else []
    for record in map(context.repository.get, names):
        tester = Tester(context=context, run=run, record=record)
        tests.append(first_reachable(run, record, location, tester))
    if len(tests) == 1:
        run.set_backup(tests[0].backup)
    verifications = {test.backup: verification_of(test) for test in tests}
    return finish(context, run, VerificationResult(verifications=verifications, tests=tuple(tests)))


def test_the_farthest(context: OpsContext, run: RunRecorder) -> RestoreTest:
    """Test the newest verified backup in the location that is farthest away.

    The note says which locations were skipped, and why.
    """
    notes: list[str] = []
    for location in context.repository.farthest_first():
        try:
            listed = Listed.of(context, run, location)
            if listed.found.newest is None:
                notes.append(f"{location} has no verified backup.")
                continue
            record = context.repository.get(listed.found.newest.name)
            tester = Tester(context=context, run=run, record=record, note=" ".join(notes))
            return tester(location, listed)
        except CopyUnreachable as error:
            notes.append(f"{location} was not tested: {error.message}")
            run.log(notes[-1])
    raise PreconditionFailed(
        f"There is no verified backup that can be read. {' '.join(notes)}", "Make one: manage.py backup_database"
    )


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a location has, and the seconds that it took to find that out."""

    found: Survey
    seconds: float

    @classmethod
    def of(cls, context: OpsContext, run: RunRecorder, location: str) -> "Listed":
        """Raises CopyUnreachable."""
        run.report(Progress(stage=Stage.LIST))
        began = time.monotonic()
        with listing():
            found = survey(context.repository, location, kinds=context.engine.kinds, now=clock.now())
        return cls(found=found, seconds=round(time.monotonic() - began, 3))


@dataclass(frozen=True, kw_only=True)
class Tester:
    """Tests copies of one backup."""

    context: OpsContext
    run: RunRecorder
    record: BackupRecord
    note: str = ""

    def __call__(self, location: str, listed: Listed | None = None) -> RestoreTest:
        """Test the copy in `location`, record the outcome and write the report. Raises CopyUnreachable."""
        listed = listed or Listed.of(self.context, self.run, location)
        catalog, newest = self.context.repository, listed.found.newest
        with listing():
            fault = fault_of_manifest(catalog, self.record, location, listed.found.files)
            key = key_of(catalog, self.record.name, location)
        test = self.measure(location)
        seconds = {str(Stage.LIST): listed.seconds, **test.seconds}
        return self.reported(
            replace(
                test,
                seconds=seconds,
                recovery_time=round(sum(seconds.values()), 3),
                where=catalog.where(location),
                key=key,
                recovery_point=newest.taken_at if newest else None,
                recovery_point_age=max(0.0, (test.began_at - newest.taken_at).total_seconds()) if newest else None,
                note=self.note,
                # A missing manifest is about the location alone, and not recorded as the outcome of the backup.
                error=test.error or fault,
            )
        )

    def measure(self, location: str) -> RestoreTest:
        """Load and compare the copy, and record the outcome."""
        self.run.set_backup(self.record.name)
        reading: Reading | None = None
        try:
            reading = Reading(readable_source(self.context, self.record, location))
            with reachable(reading):
                test = verify.restore_test(
                    engine=self.context.engine, source=reading.source, on_progress=self.run.report, claims=self.run
                )
        except ArtifactInvalid as error:
            test = untested(self.record.name, error)
        test = replace(test, location=location)
        record_if_signed(self.context, self.run, self.record, verification_of(test), reading)
        return test

    def reported(self, test: RestoreTest) -> RestoreTest:
        """With the name of its report, which is written unless the storage refuses it."""
        named = replace(test, report=report_name(test.backup, test.location, test.began_at))
        manifest = self.record.manifest
        report = Report(
            test=named,
            installation=self.context.engine.database,
            requested_by=self.run.requested_by,
            run=self.run.id,
            app_version=self.context.app_version,
            **(facts_of(manifest) if manifest else {}),
        )
        try:
            write_report(self.context.repository, report)
        except (OpsError, OSError) as error:
            self.run.log(f"The report of the restore test could not be written: {redact(str(error))}")
            return test
        return named


def untested(name: str, error: ArtifactInvalid) -> RestoreTest:
    """Of a copy that could not even be opened."""
    return RestoreTest(backup=name, began_at=clock.now(), seconds={}, recovery_time=0, error=error.message.rstrip("."))


def verification_of(test: RestoreTest) -> Verification:
    return Verification(
        level=Level.RESTORED,
        verified_at=clock.now(),
        duration=test.recovery_time,
        error=test.error,
        not_kept=test.not_kept,
        location=test.location,
    )
