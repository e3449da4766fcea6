"""What an event's file says of a run, read strictly: nobody signs events, and whoever writes into the storage may lie.

A field that pages show is one of these; a result or an argument that is of another shape is left out, so that no page
has to look twice. The shapes are those that the operations write (`ops.operations`).
"""

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from ops.backups import fields
from ops.backups.fields import Reader, each, named, seconds, text, truth, whole
from ops.backups.manifest import Level
from ops.errors import ArtifactInvalid
from ops.models import Run

logger = logging.getLogger(__name__)

STARTED, CLAIMED, LEFT, ENDED, SWEPT = "started", "claimed", "left", "ended", "swept"
Event = Mapping[str, Any]
LINE, LOG = 1_000, 100_000
"""Characters of a field that is shown in one line, and of one that may have many."""
DEPTH, PARTS = 12, 100_000
"""Of a JSON value that is kept as it is: how deep lists and objects may be nested, and how many values there may be."""


def read_run(event: Event) -> Run:
    """The run as the event knows it. Raises ArtifactInvalid or ValueError for what no run of ours would say."""
    run = Run(
        id=UUID(text(event["run"], "run")),
        kind=choice(Run.Kind, event, "kind"),
        status=choice(Run.Status, event, "status"),
        origin=choice(Run.Origin, event, "origin"),
        **{name: cut(event, name, LINE) for name in ("database", "who", "backup", "stage", "host")},
        **{name: cut(event, name, LOG) for name in ("error", "hint", "log")},
        **{name: whole(event[name], name) for name in ("done", "total")},
        pid=None if event["pid"] is None else whole(event["pid"], "pid"),
        asked=moment(event["asked"], "asked"),
        **{name: None if event[name] is None else moment(event[name], name) for name in ("started", "ended")},
        stages=read_stages(event["stages"]),
    )
    if run.status == Run.Status.QUEUED or run.is_over != (event["event"] == ENDED):
        raise fields.refuse("status", f"is {run.status} in an event called {event['event']}")
    run.arguments = read_object(event["arguments"])
    run.result = read_result(run.kind, event["result"])
    return run


def choice(choices: type[Any], event: Event, name: str) -> Any:
    return choices(text(event[name], name))


def cut(event: Event, name: str, length: int) -> str:
    """A text without what PostgreSQL keeps nowhere; of a long one its end, which matters in a log."""
    if not isinstance(value := event[name], str):
        raise fields.refuse(name, "is not a text")
    return clean(value[-length:])


def clean(value: str) -> str:
    return value.replace("\0", "").encode(errors="replace").decode()


def moment(value: object, path: str) -> dt.datetime:
    """A time with its offset, as `datetime.isoformat` spells it, which every zone can show."""
    when = dt.datetime.fromisoformat(text(value, path))
    if when.tzinfo is None or not fields.FIRST_YEAR <= when.year <= fields.LAST_YEAR:
        raise fields.refuse(path, "is not a time of ours")
    return when.astimezone(dt.UTC)


def read_stages(value: object) -> list[dict[str, Any]]:
    """Those that say what they are called."""
    try:
        return [
            dict(stage)
            for stage in each(fields.part({"stage": text, "began": text, "seconds": optional(seconds)}))(
                value, "stages"
            )
        ]
    except ArtifactInvalid:
        return []


def read_object(value: object) -> dict[str, Any]:
    """A JSON object that is neither deep nor large; an empty one in the place of anything else."""
    budget = [PARTS]
    if isinstance(value, Mapping) and is_small(value, DEPTH, budget):
        return {clean(str(name)): sanitize(part) for name, part in value.items()}
    return {}


def is_small(value: object, depth: int, budget: list[int]) -> bool:
    budget[0] -= 1
    if not depth or budget[0] < 0:
        return False
    if isinstance(value, Mapping):
        return all(len(str(name)) <= LINE and is_small(part, depth - 1, budget) for name, part in value.items())
    if isinstance(value, list):
        return all(is_small(part, depth - 1, budget) for part in value)
    if isinstance(value, str):
        return len(value) <= LOG
    return not isinstance(value, int) or abs(value) <= fields.LARGEST


def sanitize(value: object) -> Any:
    """The same value without what PostgreSQL keeps neither in text nor in JSON."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(name)): sanitize(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [sanitize(part) for part in value]
    return value


# --- Results -------------------------------------------------------------------------------------------------------


def optional(reader: Reader[Any]) -> Reader[Any]:
    return lambda value, path: None if value is None else reader(value, path)


def row(*readers: Reader[Any]) -> Reader[list[Any]]:
    """A list with exactly these parts."""

    def read(value: object, path: str) -> list[Any]:
        if not isinstance(value, list) or len(value) != len(readers):
            raise fields.refuse(path, f"is not a list of {len(readers)}")
        return [
            reader(part, f"{path}[{index}]") for index, (reader, part) in enumerate(zip(readers, value, strict=True))
        ]

    return read


UNDO = fields.part({"name": text, "when": text, "run": text, "backup": text, "size": whole})
PROOF = fields.part({"level": fields.one_of(Level), "when": text, "seconds": seconds, "fault": text})
LEFT_OUT = fields.part({"table": text, "rows": whole, "reason": text})
LOADED = {
    "backup": text,
    "rows": whole,
    "tables": whole,
    "compared": truth,
    "migrations": each(text),
    "left_out": each(LEFT_OUT),
}
SWAPPED = {"migrations": each(text), "undo": optional(UNDO), "writes_closed": seconds, "cut_over": seconds}
IN_PLACE = fields.part({**LOADED, **SWAPPED, "pre_backup": text})
IN_ANOTHER = fields.part({**LOADED, "database": text})
VERIFIED = fields.part({"proofs": each(row(text, PROOF))})


def restored(value: object, path: str) -> dict[str, Any]:
    is_another = isinstance(value, Mapping) and "database" in value
    return IN_ANOTHER(value, path) if is_another else IN_PLACE(value, path)


RESULTS: Mapping[str, Callable[[object, str], dict[str, Any]]] = {
    Run.Kind.BACKUP: fields.part(
        {"rows": whole, "size": whole, "plain_size": whole, "seconds": seconds, "tables": whole, "deleted": named(text)}
    ),
    Run.Kind.VERIFICATION: VERIFIED,
    Run.Kind.DRILL: VERIFIED,
    Run.Kind.RESTORE: restored,
    Run.Kind.UNDO: fields.part({"brought_back": UNDO, **SWAPPED}),
    Run.Kind.DROP_UNDO: fields.part({"undo": optional(UNDO)}),
    Run.Kind.PRUNE: fields.part({"deleted": named(text), "kept": whole}),
    Run.Kind.UPLOAD: fields.part({"rows": whole, "tables": whole, "size": whole}),
    Run.Kind.DELETION: fields.part({"size": whole}),
    Run.Kind.PREFLIGHT: fields.part(
        {
            "acceptable": truth,
            "rows": whole,
            "size": whole,
            "seconds": seconds,
            "tables": each(row(text, text, whole)),
            "skipped": each(row(text, whole, text)),
            "unknown": each(row(text, whole, text)),
            "notes": each(text),
            "findings": whole,
            "groups": each(row(text, text, text, whole, each(text))),
            "file": text,
        }
    ),
}
"""By the kind of run: the fields that every result of it has. What else one has is kept, and not shown."""


def read_result(kind: str, value: object) -> dict[str, Any]:
    """The result of a run of that kind as it is; an empty one where it is of another shape."""
    result = read_object(value)
    reader = RESULTS.get(kind)
    if not result or not reader:
        return result
    try:
        reader(result, "result")
    except ArtifactInvalid as error:
        logger.warning("The result of a run of the kind %r is left out: %s", kind, error.message)
        return {}
    return result
