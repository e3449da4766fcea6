"""What programs of others find in their environment: what they need, and no key or address of this project."""

import os

SYSTEM_VARIABLES = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
)
LIBPQ_VARIABLES = frozenset(
    {
        *("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGSERVICE"),
        *("PGSERVICEFILE", "PGSYSCONFDIR", "PGLOCALEDIR", "PGOPTIONS", "PGAPPNAME", "PGCONNECT_TIMEOUT"),
        *(
            "PGSSLMODE",
            "PGREQUIRESSL",
            "PGSSLNEGOTIATION",
            "PGSSLCOMPRESSION",
            "PGSSLCERT",
            "PGSSLKEY",
            "PGSSLCERTMODE",
        ),
        *("PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI", "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION"),
        *("PGREQUIREPEER", "PGREQUIREAUTH", "PGCHANNELBINDING", "PGGSSENCMODE", "PGGSSDELEGATION", "PGKRBSRVNAME"),
        *("PGGSSLIB", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS", "PGCLIENTENCODING", "KRB5CCNAME", "KRB5_CONFIG"),
    }
)
"""What psycopg2 heeds in this process has to be the same for the programs (PostgreSQL's manual, "Environment
Variables" of libpq); the last two are Kerberos's."""


def minimal_environment(**changes: str) -> dict[str, str]:
    """What a program of others is started with: of our own environment what any program needs, and `changes`."""
    kept = {name: value for name, value in os.environ.items() if name in SYSTEM_VARIABLES or name.startswith("LC_")}
    return kept | changes


def libpq_environment() -> dict[str, str]:
    """What a program needs in addition that connects to PostgreSQL."""
    return {name: value for name, value in os.environ.items() if name in LIBPQ_VARIABLES}
