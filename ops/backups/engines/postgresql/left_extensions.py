"""Extensions of other roles in ``public``, which cannot leave that schema when it is set aside.

Its name is then another one, until the swap gives it back. A dump that is loaded meanwhile gets that name.
"""

import re
from collections.abc import Iterator

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.postgresql.dump_reader import ROUTINE, Statement
from ops.backups.engines.postgresql.table_digests import ASIDE_SCHEMA

NAMES = """
SELECT DISTINCT class = 'pg_operator'::regclass,
       CASE class WHEN 'pg_operator'::regclass THEN name ELSE quote_ident(name) END
FROM (SELECT tableoid, oid, proname::text FROM pg_proc UNION ALL SELECT tableoid, oid, typname FROM pg_type
      UNION ALL SELECT tableoid, oid, relname FROM pg_class UNION ALL SELECT tableoid, oid, oprname FROM pg_operator
      UNION ALL SELECT tableoid, oid, opcname FROM pg_opclass UNION ALL SELECT tableoid, oid, opfname FROM pg_opfamily
      UNION ALL SELECT tableoid, oid, dictname FROM pg_ts_dict UNION ALL SELECT tableoid, oid, cfgname FROM pg_ts_config
     ) AS object(class, id, name)
JOIN pg_depend ON classid = class AND objid = id AND deptype = 'e' AND refclassid = 'pg_extension'::regclass
JOIN pg_extension AS e ON e.oid = refobjid AND extnamespace = to_regnamespace(%s)
"""
LITERAL = rb"(?P<literal>'(?:[^']++|'')*+'(?P<reg>::(?:pg_catalog\.)?reg)?|(?P<dollar>\$\w*+\$).*?(?P=dollar))"
CREATE = re.compile(rb"CREATE (?:OR REPLACE )?")


class LeftExtensions:
    """The statements of one dump with the names of what is left in the schema that is set aside."""

    def __init__(self, cursor: Cursor) -> None:
        cursor.execute(NAMES, [ASIDE_SCHEMA])
        found = cursor.fetchall()
        operators, words = ([name for is_operator, name in found if is_operator is kind] for kind in (True, False))
        names = rb"(?:%s)(?![\w$])|(?:%s)\)" % (alternatives(words), alternatives(operators))
        self._name = re.compile(rb'(?<![\w"$.])public\.(?=' + names + rb")")
        self._token = re.compile(LITERAL + rb'|"(?:[^"]++|"")*+"|' + self._name.pattern, re.DOTALL)
        self._routines: list[bytes] = []
        self._is_empty = not found

    def rename(self, statement: Statement) -> Statement:
        if self._is_empty:
            return statement
        if not ROUTINE.match(statement.text):
            return Statement(self._token.sub(self._replace, statement.text))
        # Its body may be executed during the load, for an index.
        renamed = self._in_text(statement.text)
        if renamed != statement.text:
            self._routines.append(statement.text)
        return Statement(renamed)

    def routines(self) -> Iterator[bytes]:
        """Statements that give routines their own bodies again."""
        return (CREATE.sub(b"CREATE OR REPLACE ", text, count=1) for text in self._routines)

    def _replace(self, match: re.Match[bytes]) -> bytes:
        if match["literal"]:
            return self._in_text(match[0]) if match["reg"] else match[0]
        return match[0] if match[0].startswith(b'"') else ASIDE_SCHEMA.encode() + b"."

    def _in_text(self, text: bytes) -> bytes:
        return self._name.sub(ASIDE_SCHEMA.encode() + b".", text)


def alternatives(names: list[str]) -> bytes:
    return b"|".join(re.escape(name.encode()) for name in sorted(names, key=len, reverse=True)) or rb"(?!)"
