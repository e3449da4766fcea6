"""The stages of a migration, as its progress names them."""

import enum


class Stage(enum.StrEnum):
    """What a migration is doing, in this order."""

    SNAPSHOT = "snapshot"
    PREFLIGHT = "preflight"
    SCHEMA = "schema"
    COPY = "copy"
    BUILD = "build"
    VERIFY = "verify"
    CUT_OVER = "cut-over"
