# shellcheck shell=bash disable=SC2034,SC2154  # the scripts share their variables
# The way back: stop HomeRack, write the rows of PostgreSQL into a SQLite file, copy the file out of the container. The
# image that runs does it, because its models fit the tables. No volume is changed but for a backup and temporary files.

target='' stopping=no finished=no running=()
site=(homerack-front homerack-web homerack-worker homerack-beat)
writer=homerack-to-sqlite         # the container that writes the file
uploads=/var/lib/homerack/uploads # the volume for large temporary files: /tmp is memory
inside=$uploads/tmp-back-to-sqlite/back-to-sqlite.db
backups=/var/lib/homerack/backups
findings="$backups/back-to-sqlite_*_findings.csv"
# Without Docker's log, which would get the file as well.
in_volumes=(docker run --rm --network none --log-driver none --volume "homerack-uploads:$uploads"
    --volume "homerack-backups:$backups" "$image")

back_to_sqlite() {
    runner=$image
    check "Prerequisites" check_way_back
    confirm "Type yes to stop HomeRack and write its data to $target: "
    step "Stop front, web, worker and beat" stop_services
    if [[ $backup == yes ]]; then step "Back up the database" back_up_before_way_back; fi
    step "Migrate PostgreSQL to a SQLite file" write_sqlite_file
    step "Copy the file to $target" copy_sqlite_file
}

# --- Prerequisites ------------------------------------------------------------------------------------------------------

check_way_back() {
    check_programs
    check_settings_file
    check_target
    if ((${#problems[@]} == 0)); then
        unset_shell_variables
        check_installation
    fi
    report_problems
}

# SQLite would apply journals next to the file to it. The name is tried, because it may be too long, or a quota used up.
check_target() {
    local parent name tried
    parent=$(dirname "$target") name=$(basename "$target")
    if ! parent=$(cd "$parent" 2>/dev/null && pwd); then
        problem "There is no directory $(dirname "$target")."
        return
    fi
    target=${parent%/}/$name
    for name in "$target" "$target"-{wal,shm,journal}; do
        if [[ -e $name || -L $name ]]; then problem "$name exists. Name a new file, or move this one away."; fi
    done
    if tried=$(mktemp --suffix .partial "$target.XXXXXXXX" 2>>"$log"); then
        rm -f "$tried"
    else
        problem "$target cannot be created; see $log"
    fi
}

check_installation() {
    detect_installation
    if [[ $first == yes ]]; then
        problem "HomeRack is not installed here: there is no image $image. For PostgreSQL elsewhere: manage.py migrate_to_sqlite --help"
        return
    fi
    if ! docker run --rm --network none "$image" test -e ops/management/commands/migrate_to_sqlite.py 2>>"$log"; then
        problem "The installed release has no migrate_to_sqlite. Deploy this release first: ops/deploy/deploy_production.sh"
    fi
    if ! is_running homerack-postgres || ! is_running homerack-redis; then
        problem "PostgreSQL or Redis is not running. Start them: docker start homerack-postgres homerack-redis"
    elif ! has_data; then
        problem "PostgreSQL holds no data. To start with a new SQLite file: make run"
    else
        check_space
    fi
}

# The file is smaller than the database. Docker's disk also gets the backup and what SQLite sorts.
check_space() {
    local size
    size=$(database_size)
    check_free "$(docker_folder)" $((3 * size))
    check_free "$(dirname "$target")" "$size"
}

# In KiB.
database_size() {
    docker exec homerack-postgres psql --no-psqlrc --tuples-only --no-align \
        --username "$(setting POSTGRES_USER homerack)" --dbname "$(setting POSTGRES_DB homerack)" \
        --command 'SELECT pg_database_size(current_database()) / 1024' 2>>"$log"
}

# --- Steps --------------------------------------------------------------------------------------------------------------

# Only what runs now is started again after a failure.
stop_services() {
    local name
    for name in "${site[@]}"; do
        if is_running "$name"; then running+=("$name"); fi
    done
    stopping=yes
    remove_leftovers
    if ((${#running[@]} == 0)); then
        say "    None of them is running."
        return
    fi
    changed "${running[*]} were stopped"
    quietly uninterrupted docker stop "${running[@]}" || fail "The services could not be stopped."
}

back_up_before_way_back() { back_up "$image" "before the way back to SQLite"; }

write_sqlite_file() {
    local code=0
    # shellcheck disable=SC2016  # for the shell in the container
    HOMERACK_IMAGE=$image compose run --rm --name "$writer" --no-deps -T "${own_database[@]}" web sh -euc '
        umask 077; mkdir "$(dirname "$0")"; exec python manage.py migrate_to_sqlite --sqlite-path "$0" --yes' \
        "$inside" 2>&1 | tee --append --ignore-interrupts "$log" || code=$?
    # The report of a failure does not repeat what is on the screen.
    log_begins=$(($(wc -l <"$log") + 1))
    case $code in
        0) ;;
        2)
            copy_findings || fail "SQLite cannot hold all values, and the list of findings could not be copied."
            fail "SQLite cannot hold all values." "All findings: $target.findings.csv
  Correct the values in the admin or with psql, and check them without stopping HomeRack:
    docker exec homerack-web python manage.py migrate_to_sqlite --sqlite-path $uploads/new.db --dry-run
  Then run this command again. To leave rows out: ops/deploy/POSTGRESQL_MIGRATION.md, \"Rolling back\"."
            ;;
        4) fail "Another operation on the database is running." "Wait until it has ended, then run the command again." ;;
        *) fail "The SQLite file was not written." "Read the lines above; nothing was changed in PostgreSQL." ;;
    esac
}

# The command shows three findings of each kind. A list of an earlier run is replaced.
copy_findings() {
    local partial
    partial=$(mktemp --suffix .partial "$target.XXXXXXXX" 2>>"$log") &&
        "${in_volumes[@]}" sh -c "cat $findings" >"$partial" 2>>"$log" &&
        quietly mv --no-target-directory "$partial" "$target.findings.csv" &&
        changed "$target.findings.csv was written"
}

# The file gets its name as the last act: then the script cannot be interrupted any more.
copy_sqlite_file() {
    local partial digest
    digest=$("${in_volumes[@]}" sha256sum "$inside" 2>>"$log") || fail "The file in the container cannot be read."
    partial=$(mktemp --suffix .partial "$target.XXXXXXXX" 2>>"$log") || fail "$target cannot be created."
    if ! "${in_volumes[@]}" cat "$inside" >"$partial" 2>>"$log" || ! quietly sync "$partial"; then
        fail "The file could not be copied to $(dirname "$target"). Is its disk full?"
    fi
    [[ $(sha256sum <"$partial") == "${digest%% *}  -" ]] || fail "The copy differs from the file in the container (SHA-256)."
    quietly remove_from_volumes || fail "The file in the container could not be removed."
    trap '' HUP INT TERM
    mv --no-clobber --no-target-directory "$partial" "$target" 2>>"$log" || fail "$target could not be created."
    [[ ! -e $partial ]] || fail "$target exists: another program has created it meanwhile."
    finished=yes
    quietly sync "$(dirname "$target")" || true
    say "    $(stat --format %s "$target") bytes, SHA-256 ${digest%% *}"
}

# --- When a step fails ----------------------------------------------------------------------------------------------------

stay_on_postgres() {
    if [[ $finished == yes ]]; then
        say "The data are in $target, and HomeRack is stopped."
        return
    fi
    if [[ $stopping == no ]]; then return; fi
    remove_leftovers
    if ((${#running[@]} == 0)); then
        say "HomeRack was not running. To start it: $(start_command)"
        return
    fi
    say "Starting HomeRack again …"
    if quietly uninterrupted docker start "${running[@]}" && wait_within 120 is_running_well; then
        say "HomeRack runs on PostgreSQL as before, and is healthy. $target was not written."
    else
        say "HomeRack was started again on PostgreSQL, but is not healthy: docker logs homerack-web"
    fi
}

# Of this run, or of one that was killed: the lock on .env.production allows one at a time.
remove_leftovers() {
    uninterrupted docker rm --force "$writer" &>/dev/null || true
    quietly remove_from_volumes || true
    rm -f -- "$target".????????.partial
}

remove_from_volumes() { uninterrupted "${in_volumes[@]}" sh -c "rm -rf ${inside%/*} $findings"; }

# A path in a URL.
quote_path() {
    local LC_ALL=C rest=$1 quoted=''
    while [[ $rest ]]; do
        case ${rest:0:1} in
            [a-zA-Z0-9/._~-]) quoted+=${rest:0:1} ;;
            *) printf -v quoted '%s%%%02X' "$quoted" "'${rest:0:1}" ;;
        esac
        rest=${rest:1}
    done
    printf '%s' "$quoted"
}

# The site has no front with a proxy of your own, and no containers at all after `down`.
start_command() {
    local name names=()
    for name in "${site[@]}"; do
        if quietly docker container inspect "$name"; then names+=("$name"); fi
    done
    if [[ ${names[*]} == *homerack-web* ]]; then
        say "docker start homerack-postgres homerack-redis ${names[*]}"
    else
        say "ops/deploy/deploy_production.sh"
    fi
}

show_way_back() {
    local url
    url=sqlite:///$(quote_path "$target")
    cat <<TEXT
HomeRack is stopped. Its data are in $target, compared value by value with PostgreSQL.

To start HomeRack on the file, without Docker (all users sign in again):
  cd $(printf %q "$root") && make .venv/production .env
  sed -i -E 's/^(DATABASE_URL|DATABASE_DIRECT_URL|DB_TYPE)=/# &/' .env && echo 'DATABASE_URL=$url' >> .env
  make run

All volumes are kept. To come back to PostgreSQL, with the rows of now and not those that are entered into the file later:
  $(start_command)
To remove the containers and volumes later, with the database and all backups:
  ${compose_program[*]} -f docker-compose.prod.yml --env-file .env.production down --volumes
TEXT
}
