"""Environments for other programs: without keys and addresses of this project."""

import os

SYSTEM_VARIABLES = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
)
LIBPQ_VARIABLES = frozenset(
    {
        *("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGSERVICE"),
        *("PGSERVICEFILE", "PGSYSCONFDIR", "PGLOCALEDIR", "PGOPTIONS", "PGAPPNAME", "PGCONNECT_TIMEOUT"),
        *("PGSSLMODE", "PGREQUIRESSL", "PGSSLNEGOTIATION", "PGSSLCOMPRESSION", "PGSSLCERT", "PGSSLKEY"),
        *("PGSSLCERTMODE", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI", "PGSSLMINPROTOCOLVERSION"),
        *("PGSSLMAXPROTOCOLVERSION", "PGREQUIREPEER", "PGREQUIREAUTH", "PGCHANNELBINDING", "PGGSSENCMODE"),
        *("PGGSSDELEGATION", "PGKRBSRVNAME", "PGGSSLIB", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS"),
        *("PGCLIENTENCODING", "KRB5CCNAME", "KRB5_CONFIG"),
    }
)
"""libpq reads them in this process and in the programs (PostgreSQL's manual, libpq, "Environment Variables"); the
last two are Kerberos's."""


def minimal_environment(**changes: str) -> dict[str, str]:
    """The variables of our environment that any program needs, and `changes`."""
    kept = {name: value for name, value in os.environ.items() if name in SYSTEM_VARIABLES or name.startswith("LC_")}
    return kept | changes


def libpq_environment() -> dict[str, str]:
    """The variables that a client of PostgreSQL needs in addition."""
    return {name: value for name, value in os.environ.items() if name in LIBPQ_VARIABLES}
