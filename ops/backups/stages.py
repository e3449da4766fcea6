"""The stages that operations on backups report, in the order in which they come."""

from enum import StrEnum


class Stage(StrEnum):
    """Their values are what a person reads."""

    # A backup
    SNAPSHOT = "snapshot"
    DUMP = "dump"
    PROVE = "prove"
    PRUNE = "prune"
    # An upload
    STORE = "store"
    # A drill or a restore
    LOAD = "load"
    COMPARE = "compare"
    MIGRATE = "migrate"
    HISTORY = "history"
    CUT_OVER = "cut-over"
    CLEAN_UP = "clean up"
