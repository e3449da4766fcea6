# shellcheck shell=bash disable=SC2154  # the scripts share their variables
# HomeRack's role in PostgreSQL: LOGIN, CREATEDB, not a superuser, owner of its databases.
#
# Runs with each deployment, as the server's superuser in the server's container. Running it again changes nothing.

ensure_role() {
    if ! quietly psql_as postgres --command 'SELECT' </dev/null; then quietly rename_superuser || return; fi
    quietly write_role || return
    local database
    while read -r database; do
        quietly change_owners --dbname "$database" || return
    done < <(psql_as postgres --command "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'" </dev/null)
}

psql_as() {
    docker exec --interactive homerack-postgres psql --no-psqlrc --quiet --tuples-only --no-align \
        --set ON_ERROR_STOP=1 --set VERBOSITY=terse --set "role=$(setting POSTGRES_USER homerack)" --set "database=$(setting POSTGRES_DB homerack)" \
        --dbname postgres --username "$@"
}

# The password goes through standard input, because every user of the machine can see arguments, and into no log.
write_role() {
    { printf '\\set password %s\n' "$(setting POSTGRES_PASSWORD)" && cat <<'SQL'; } | psql_as postgres
SET log_min_duration_statement = -1;
SET log_min_error_statement = panic;
SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" LOGIN NOSUPERUSER CREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'role')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
SELECT format('ALTER DATABASE %I OWNER TO %I', datname, :'role') FROM pg_database
    WHERE NOT datistemplate AND datname <> 'postgres' AND datdba = 'postgres'::regrole \gexec
DROP ROLE IF EXISTS homerack_renaming;
SQL
}

# A volume of an earlier version, whose superuser is HomeRack's role: a temporary superuser renames that role to "postgres",
# because a session cannot rename its own role. Then the name is free for an ordinary role.
rename_superuser() {
    local old
    old=$(setting POSTGRES_USER homerack)
    psql_as "$old" --command 'DROP ROLE IF EXISTS homerack_renaming' \
        --command 'CREATE ROLE homerack_renaming SUPERUSER LOGIN' </dev/null || return
    { printf '\\set password %s\n' "$(setting POSTGRES_SUPERUSER_PASSWORD)" && cat <<'SQL'; } | psql_as homerack_renaming
SET log_min_duration_statement = -1;
SET log_min_error_statement = panic;
ALTER ROLE :"role" RENAME TO postgres;
ALTER ROLE postgres PASSWORD :'password';
SQL
}

# Changes the owner of what the superuser owns in one of HomeRack's databases. REASSIGN OWNED cannot: the superuser owns
# the system catalogs as well.
change_owners() {
    psql_as postgres "$@" <<'SQL'
SELECT format('ALTER %s %s OWNER TO %I', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
        pg_class.oid::regclass, :'role')
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relowner = 'postgres'::regrole AND nspname !~ '^(pg_|information_schema$)' AND relkind IN ('r', 'p', 'v', 'm') \gexec
SELECT format('ALTER SEQUENCE %s OWNER TO %I', pg_class.oid::regclass, :'role')
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relowner = 'postgres'::regrole AND nspname !~ '^(pg_|information_schema$)' AND relkind = 'S' \gexec
SELECT format('ALTER SCHEMA %I OWNER TO %I', nspname, :'role') FROM pg_namespace
    WHERE nspowner = 'postgres'::regrole AND nspname !~ '^(pg_|information_schema$)' \gexec
SQL
}
