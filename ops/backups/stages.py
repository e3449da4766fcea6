"""The stages that operations on backups report, in the order in which they come."""

from enum import StrEnum


class Stage(StrEnum):
    """Their values are what users read."""

    # A backup
    SNAPSHOT = "snapshot"
    DUMP = "dump"
    VERIFY = "verify"
    PRUNE = "prune"
    # An upload
    STORE = "store"
    # A restore test or a restore
    LOAD = "load"
    COMPARE = "compare"
    MIGRATE = "migrate"
    HISTORY = "write history"
    CUT_OVER = "cut-over"
    CLEAN_UP = "clean up"
