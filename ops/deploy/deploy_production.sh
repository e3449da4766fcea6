#!/usr/bin/env bash
# Deploys HomeRack with PostgreSQL on a machine with Docker, from .env.production, and verifies it. Run again, the script
# upgrades, and rolls back to the previous image automatically when the new one is not healthy. It also leads back to SQLite.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=ops/deploy/steps.sh
source "$here/steps.sh"
# shellcheck source=ops/deploy/site.sh
source "$here/site.sh"
# shellcheck source=ops/deploy/prerequisites.sh
source "$here/prerequisites.sh"
# shellcheck source=ops/deploy/roles.sh
source "$here/roles.sh"
# shellcheck source=ops/deploy/back_to_sqlite.sh
source "$here/back_to_sqlite.sh"
# shellcheck source=ops/deploy/recovery.sh
source "$here/recovery.sh"

usage() {
    cat <<'TEXT'
usage: deploy_production.sh [options]

  (no option)            all steps: build, backup, migrations, migration of a SQLite file, start, verification
  --skip-migration       do not migrate a SQLite file (Django's migrations are applied)
  --migrate-only         start the database, apply migrations, migrate the SQLite file; start no other service
  --sqlite-path FILE     the SQLite file to migrate (default: homerack.db next to manage.py, if it exists)
  --back-to-sqlite FILE  stop HomeRack, and write its data from PostgreSQL into the new SQLite file FILE
  --recover-from PLACE   on an empty machine: recover the data of a lost one from a storage location (its address, or its
                         name in BACKUP_LOCATIONS) with the keys of the recovery kit, for which it asks
  --identity-file FILE   with --recover-from: a file with the keys of the recovery kit, instead of asking
  --skip-backup          skip the backup before an upgrade or the way back, and the backup and restore test afterwards
  --force                do not ask for confirmation; continue with little disk space
  --dry-run              check the prerequisites and list the steps; change nothing

exit codes: 0 done and verified · 1 failed; the output lists what was changed and how to roll back · 2 wrong options
TEXT
}

migration=yes services=yes backup=yes force=no sqlite='' sqlite_named=no

parse_options() {
    while (($#)); do
        case $1 in
            --skip-migration) migration=no ;;
            --migrate-only) services=no ;;
            --skip-backup) backup=no ;;
            --force) force=yes ;;
            --dry-run) dry_run=yes ;;
            --sqlite-path | --back-to-sqlite)
                [[ ${2:-} ]] || wrong_option "$1 needs a file"
                if [[ $1 == --sqlite-path ]]; then sqlite=$2 sqlite_named=yes; else target=$2; fi
                shift
                ;;
            --recover-from | --identity-file)
                [[ ${2:-} ]] || wrong_option "$1 needs a value"
                if [[ $1 == --recover-from ]]; then recover_from=$2; else kit=$2; fi
                shift
                ;;
            --help | -h) usage && exit 0 ;;
            *) wrong_option "unknown option $1" ;;
        esac
        shift
    done
    [[ $migration$services != nono ]] || wrong_option "--skip-migration and --migrate-only leave nothing to do"
    [[ $migration$sqlite_named != noyes ]] || wrong_option "--skip-migration and --sqlite-path contradict each other"
    [[ -z $target || $sqlite_named == no ]] || wrong_option "--back-to-sqlite and --sqlite-path contradict each other"
    [[ -z $target || $migration == yes ]] || wrong_option "--back-to-sqlite and --skip-migration contradict each other"
    [[ -z $target || $services == yes ]] || wrong_option "--back-to-sqlite and --migrate-only contradict each other"
    [[ -z $recover_from || $target$sqlite_named == no ]] ||
        wrong_option "--recover-from contradicts --sqlite-path and --back-to-sqlite"
    [[ -z $kit || $recover_from ]] || wrong_option "--identity-file needs --recover-from"
    if [[ $recover_from ]]; then migration=no; fi
    if [[ -z $sqlite && -f $root/homerack.db ]]; then sqlite=$root/homerack.db; fi
}

wrong_option() {
    printf '%s\n\n' "$1" >&2
    usage >&2
    exit 2
}

confirm() {
    [[ $force == no && $dry_run == no && $first == no && -t 0 ]] || return 0
    local answer
    read -rp "$1" answer
    [[ $answer == yes ]] || fail "Not confirmed."
}

# --- Steps: each does one thing, records what it changed, and fails with a reason --------------------------------------

build_images() {
    if [[ $first == no ]]; then
        quietly docker tag "$image" "$previous_image"
        quietly docker tag "$front_image:current" "$front_image:previous" || true
    fi
    quietly docker build --tag "$candidate_image" "$root" || fail "The image could not be built."
    quietly docker build --tag "$front_image:candidate" "$root/front" || fail "The image of the front could not be built."
}

# Keys that .env.production has are kept. New ones reach the file through pipes only.
make_missing_keys() {
    local missing=$work/keys
    docker run --rm --interactive --network none "$candidate_image" python -m homerack.config.keys - \
        <"$settings_file" >"$missing" 2>>"$log" || fail "The keys of backups could not be made."
    [[ -s $missing ]] || return 0
    cat "$missing" >>"$settings_file" || fail "The keys of backups could not be added to .env.production."
    changed "new keys of backups were added to .env.production (keep them)"
    sed -n 's/^\(.*\)=.*/    \1 was added to .env.production./p' "$missing"
}

check_settings() {
    local level=WARNING
    # Plain HTTP in a closed network is allowed, and causes a dozen of Django's warnings.
    is_true "$(setting HTTPS true)" || level=ERROR
    quietly in_candidate python manage.py check --deploy --fail-level "$level" ||
        fail "Django's deployment checks found problems in .env.production."
}

start_databases() {
    quietly compose up --detach postgres redis || fail "PostgreSQL and Redis could not be started."
    if [[ $first == yes ]]; then changed "PostgreSQL and Redis were started with new volumes"; fi
    wait_until_healthy homerack-postgres 90
    wait_until_healthy homerack-redis 60
    ensure_role || fail "HomeRack's role and database could not be created in PostgreSQL."
    # Exit code 3: the database answers, and has no tables yet.
    quietly in_candidate python manage.py check_database --wait 60 --json || (($? == 3)) ||
        fail "PostgreSQL is running, but HomeRack cannot connect to it."
}

back_up_before_upgrade() {
    has_data || { say "    The database is empty: no backup is needed." && return; }
    if [[ $first == yes ]]; then back_up "$candidate_image" "before an upgrade"; else back_up "$previous_image" "before an upgrade"; fi
}

back_up() {
    in_image "$1" python manage.py backup_database --note "$2" --json >"$work/backup.json" \
        2>>"$log" || fail "The backup failed." "To continue without a backup: --skip-backup"
    safety=$(json_field backup <"$work/backup.json")
    say "    $safety"
}

# The number of migrations that are not applied.
count_pending() { in_candidate python manage.py showmigrations --plan 2>>"$log" | grep -c '^\[ \]' || true; }

apply_migrations() {
    local before failed=no
    before=$(count_pending)
    quietly in_candidate python manage.py migrate --no-input || failed=yes
    applied=$((before - $(count_pending)))
    if ((applied)); then changed "$applied migrations were applied to the database"; fi
    [[ $failed == no ]] || fail "A migration failed, and was rolled back."
}

migrate_sqlite_file() {
    if has_data; then
        [[ $sqlite_named == no ]] || fail "PostgreSQL is not empty, so $sqlite cannot be migrated." \
            "Without --sqlite-path the deployment keeps the data in PostgreSQL."
        say "    PostgreSQL is not empty: $sqlite is not migrated."
        return
    fi
    snapshot_of "$sqlite" >"$work/snapshot.db" 2>>"$log" || fail "$sqlite cannot be read as a SQLite database."
    # shellcheck disable=SC2016  # for the shell in the container
    in_candidate sh -euc 'folder=$(mktemp -d); trap "rm -r $folder" EXIT; cat >"$folder/$0"
        python manage.py migrate_to_postgres --sqlite-path "$folder/$0" --yes --json -' "$(basename "$sqlite")" \
        <"$work/snapshot.db" >"$work/migration.json" 2> >(tee -a "$log" >&2) ||
        fail "The SQLite file was not migrated." "Read the findings above; manage.py migrate_to_postgres --help lists options."
    changed "the rows of $sqlite were copied to PostgreSQL (the file was not changed)"
}

start_services() {
    quietly docker tag "$candidate_image" "$image"
    quietly docker tag "$front_image:candidate" "$front_image:current"
    swapped=yes
    changed "front, web, worker and beat were started from the new images"
    # Compose does not remove a service that it is not asked to start.
    has_front || quietly docker rm --force homerack-front || true
    quietly compose up --detach --no-build || fail "The services could not be started."
}

verify_start() { wait_until is_running_well 120; }

verify_health() {
    wait_until is_healthy 60
    say "    $(health | health_summary)"
}

verify_sign_in() {
    page=$(ask "/$(setting ADMIN_PATH admin | sed 's|^/*||; s|/*$||')/login/") || fail "The sign-in page does not answer."
    [[ $page == *csrfmiddlewaretoken* ]] || fail "The sign-in page returned unexpected content."
}

verify_background() {
    # shellcheck disable=SC2016  # for the shell in the container
    quietly docker exec homerack-worker sh -c 'celery -A homerack inspect ping --destination "celery@$HOSTNAME"' ||
        fail "The worker does not answer." "docker logs homerack-worker"
    wait_until_healthy homerack-beat 90
}

verify_backup_and_restore() {
    in_web python manage.py backup_database --note "after a deployment" --json >"$work/backup.json" 2>>"$log" ||
        fail "The backup failed."
    verified=$(json_field backup <"$work/backup.json")
    quietly in_web python manage.py verify_backup "$verified" --restore --json || fail "The restore test failed."
    say "    $verified was restored into a scratch database and compared."
}

# Images of older releases, and temporary files of containers that were killed.
clean_up() {
    quietly docker image prune --force --filter label=org.opencontainers.image.title=HomeRack
    # shellcheck disable=SC2016  # for the shell in the container
    quietly in_web sh -c 'find "$TMPDIR" -mindepth 1 -maxdepth 1 \( -name "tmp*" -o -name "restore-*" \) -mtime +0 \
        -exec rm -rf {} +'
}

# --- When a step fails --------------------------------------------------------------------------------------------------

roll_back() {
    if [[ $target ]]; then
        stay_on_postgres
        return
    fi
    if [[ $first == yes ]]; then
        if ((${#changes[@]})); then
            say "Containers were left running for inspection (docker ps --all, docker logs homerack-web)."
            say "Run the deployment again to continue. To remove everything, including the data:"
            say "  ${compose_program[*]} -f docker-compose.prod.yml --env-file .env.production down --volumes"
        fi
        return
    fi
    if [[ $swapped == no ]]; then say "The previous release keeps running."; else roll_back_image; fi
    if ((applied)); then say "$applied new migrations have changed its tables."; fi
    if [[ $safety ]]; then say "To restore the data from before the deployment: ops/deploy/restore_postgres.sh --backup-file $safety"; fi
}

roll_back_image() {
    say "Rolling back to the previous image …"
    quietly docker tag "$front_image:previous" "$front_image:current" || true
    if quietly docker tag "$previous_image" "$image" && quietly compose up --detach --no-build && wait_within 120 is_running_well; then
        say "The previous image runs again and is healthy. The new one is kept as $candidate_image."
    else
        say "The previous image is not healthy either: docker logs homerack-web"
    fi
}

show_next_steps() {
    say ""
    if [[ $target ]]; then
        show_way_back
        return
    fi
    if [[ $services == no ]]; then
        say "The database is ready. Next: ops/deploy/deploy_production.sh"
        return
    fi
    say "HomeRack is at $(site_address)."
    in_web python manage.py createinitialsuperuser
    say "Log of the deployment: $log. Logs of the containers: docker logs homerack-web (-front, -worker, -beat, -postgres, -redis)"
}

deploy() {
    check "Prerequisites" check_prerequisites
    detect_installation
    confirm "HomeRack is installed already. Type yes to upgrade it: "
    step "Build the images" build_images
    step "Make the keys of backups that are not set" make_missing_keys
    step "Run Django's deployment checks" check_settings
    step "Start PostgreSQL and Redis" start_databases
    if [[ $recover_from ]]; then
        step "Recover the database from $recover_from" recover_database
    elif [[ $backup == yes ]]; then
        step "Back up the database" back_up_before_upgrade
    fi
    step "Apply migrations" apply_migrations
    if [[ $migration == yes && $sqlite ]]; then step "Migrate $sqlite to PostgreSQL" migrate_sqlite_file; fi
    if [[ $services == yes ]]; then
        step "Start front, web, worker and beat" start_services
        step "Verify: HomeRack runs on PostgreSQL" verify_start
        step "Verify: the sign-in page" verify_sign_in
        step "Verify: worker and beat" verify_background
        if [[ $backup == yes ]]; then
            step "Verify: backup and restore test" verify_backup_and_restore
            step "Verify: health" verify_health
        fi
        step "Remove old images and temporary files" clean_up
    fi
}

main() {
    parse_options "$@"
    begin "deploy"
    if [[ $target ]]; then back_to_sqlite; else deploy; fi
    succeed
}

main "$@"
