#!/usr/bin/env bash
# Takes a machine with Docker and a filled .env.production to a verified HomeRack on PostgreSQL. Run again, it upgrades,
# and goes back to the previous image by itself when the new one is not healthy.
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

usage() {
    cat <<'TEXT'
usage: deploy_production.sh [options]

  (no option)          everything: build, backup, migrate, move a SQLite file, start, verify
  --skip-migration     as above, but move no SQLite file (the tables are brought up to date all the same)
  --migrate-only       bring up the database, migrate, move the SQLite file; start nothing else
  --sqlite-path FILE   the SQLite file to move (default: homerack.db beside manage.py, when there is one)
  --skip-backup        make no backup before an upgrade and prove none afterwards
  --force              do not ask; go on with little disk space
  --dry-run            check everything that can be checked, and say what would be done

exit codes: 0 done and verified · 1 failed, with what was changed and how to go back · 2 wrong options
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
            --sqlite-path)
                (($# > 1)) || wrong_option "--sqlite-path needs a file"
                sqlite=$2 sqlite_named=yes
                shift
                ;;
            --help | -h) usage && exit 0 ;;
            *) wrong_option "unknown option $1" ;;
        esac
        shift
    done
    [[ $migration$services != nono ]] || wrong_option "--skip-migration and --migrate-only leave nothing to do"
    [[ $migration$sqlite_named != noyes ]] || wrong_option "--skip-migration and --sqlite-path contradict each other"
    if [[ -z $sqlite && -f $root/homerack.db ]]; then sqlite=$root/homerack.db; fi
}

wrong_option() {
    printf '%s\n\n' "$1" >&2
    usage >&2
    exit 2
}

confirm() {
    [[ $force == no && $dry_run == no && $first == no && -t 0 ]] || return 0
    read -rp "HomeRack runs here already. Type yes to upgrade it: " answer
    [[ $answer == yes ]] || fail "Not confirmed."
}

# --- Steps: each does one thing, says what it changed, and fails with a reason -----------------------------------------

build_images() {
    if [[ $first == no ]]; then
        quietly docker tag "$image" "$previous_image"
        quietly docker tag "$front_image:current" "$front_image:previous" || true
    fi
    quietly docker build --tag "$candidate_image" "$root" || fail "The image could not be built."
    quietly docker build --tag "$front_image:candidate" "$root/front" || fail "The image of the front could not be built."
}

check_settings() {
    local level=WARNING
    # Plain HTTP in a closed network is a choice, and a dozen warnings to Django.
    is_true "$(setting HTTPS true)" || level=ERROR
    quietly in_candidate python manage.py check --deploy --fail-level "$level" ||
        fail "Django's deployment checks found something in .env.production."
}

start_databases() {
    quietly compose up --detach postgres redis || fail "PostgreSQL and Redis could not be started."
    if [[ $first == yes ]]; then changed "PostgreSQL and Redis were started, with volumes of their own"; fi
    wait_until_healthy homerack-postgres 90
    wait_until_healthy homerack-redis 60
    ensure_role || fail "HomeRack's role and database could not be made in PostgreSQL."
    # 3: it answers, and has no tables yet.
    quietly in_candidate python manage.py check_database --wait 60 --json || (($? == 3)) ||
        fail "PostgreSQL runs, and HomeRack can not reach it."
}

back_up() {
    has_data || { say "    There is nothing to back up yet." && return; }
    local from=$previous_image
    if [[ $first == yes ]]; then from=$candidate_image; fi
    in_image "$from" python manage.py backup_database --note "before an upgrade" --json >"$work/backup.json" \
        2>>"$log" || fail "The backup failed." "To go on without one: --skip-backup"
    safety=$(json_field backup <"$work/backup.json")
    say "    $safety"
}

# How many migrations the database has not had yet.
pending() { in_candidate python manage.py showmigrations --plan 2>>"$log" | grep -c '^\[ \]' || true; }

update_tables() {
    local before failed=no
    before=$(pending)
    quietly in_candidate python manage.py migrate --no-input || failed=yes
    applied=$((before - $(pending)))
    if ((applied)); then changed "$applied migrations were applied to the database"; fi
    [[ $failed == no ]] || fail "A migration failed, and was rolled back."
}

move_sqlite_file() {
    if has_data; then
        [[ $sqlite_named == no ]] || fail "PostgreSQL is not empty; $sqlite can not be moved into it." \
            "Without --sqlite-path the deployment goes on with what is there."
        say "    PostgreSQL holds data already; $sqlite stays where it is."
        return
    fi
    take_snapshot_of "$sqlite" >"$work/snapshot.db" 2>>"$log" || fail "$sqlite can not be read as a SQLite database."
    # shellcheck disable=SC2016  # for the shell in the container
    in_candidate sh -euc 'folder=$(mktemp -d); trap "rm -r $folder" EXIT; cat >"$folder/$0"
        python manage.py migrate_to_postgres --sqlite-path "$folder/$0" --yes --json -' "$(basename "$sqlite")" \
        <"$work/snapshot.db" >"$work/migration.json" 2> >(tee -a "$log" >&2) ||
        fail "The SQLite file was not moved." "Read the findings above; manage.py migrate_to_postgres --help knows ways."
    changed "the rows of $sqlite are in PostgreSQL (the file itself is as it was)"
}

start_services() {
    quietly docker tag "$candidate_image" "$image"
    quietly docker tag "$front_image:candidate" "$front_image:current"
    swapped=yes
    changed "front, web, worker and beat were started from the new images"
    # Compose leaves alone what it is not to start.
    has_front || quietly docker rm --force homerack-front || true
    quietly compose up --detach --no-build || fail "The services could not be started."
}

verify_start() { wait_until is_well 120; }

verify_health() {
    wait_until is_healthy 60
    say "    $(health | health_summary)"
}

verify_sign_in() {
    page=$(ask "/$(setting ADMIN_PATH admin | sed 's|^/*||; s|/*$||')/login/") || fail "The sign-in page does not answer."
    [[ $page == *csrfmiddlewaretoken* ]] || fail "What should be the sign-in page is none."
}

verify_background() {
    # shellcheck disable=SC2016  # for the shell in the container
    quietly docker exec homerack-worker sh -c 'celery -A homerack inspect ping --destination "celery@$HOSTNAME"' ||
        fail "The worker does not answer." "docker logs homerack-worker"
    wait_until_healthy homerack-beat 90
}

prove_backup() {
    in_web python manage.py backup_database --note "after a deployment" --json >"$work/backup.json" 2>>"$log" ||
        fail "No backup could be made."
    proven=$(json_field backup <"$work/backup.json")
    quietly in_web python manage.py verify_backup "$proven" --restore --json || fail "The backup did not restore."
    say "    $proven was restored into a scratch database and compared."
}

# Images of older releases, and temporary files that a container left which was killed.
tidy_up() {
    quietly docker image prune --force --filter label=org.opencontainers.image.title=HomeRack
    # shellcheck disable=SC2016  # for the shell in the container
    quietly in_web sh -c 'find "$TMPDIR" -mindepth 1 -maxdepth 1 \( -name "tmp*" -o -name "restore-*" \) -mtime +0 \
        -exec rm -rf {} +'
}

# --- What happens when a step fails -------------------------------------------------------------------------------------

go_back() {
    if [[ $first == yes ]]; then
        if ((${#changes[@]})); then
            say "The containers are left for you to look at (docker ps --all, docker logs homerack-web)."
            say "Run the deployment again to go on. To take everything away, with its data:"
            say "  ${compose_program[*]} -f docker-compose.prod.yml --env-file .env.production down --volumes"
        fi
        return
    fi
    if [[ $swapped == no ]]; then say "HomeRack itself runs on as before."; else go_back_to_previous_image; fi
    if ((applied)); then say "It runs on tables that $applied new migrations have changed."; fi
    if [[ $safety ]]; then say "To return to the data of before: ops/deploy/restore_postgres.sh --backup-file $safety"; fi
}

go_back_to_previous_image() {
    say "Going back to the previous image …"
    quietly docker tag "$front_image:previous" "$front_image:current" || true
    if quietly docker tag "$previous_image" "$image" && quietly compose up --detach --no-build && within 120 is_well; then
        say "The previous image runs again and is healthy. The new one is kept as $candidate_image."
    else
        say "The previous image is not healthy either. Look at: docker logs homerack-web"
    fi
}

say_what_is_next() {
    say ""
    if [[ $services == no ]]; then
        say "The database is ready. Next: ops/deploy/deploy_production.sh"
        return
    fi
    say "HomeRack is at $(site_address)."
    in_web python manage.py createinitialsuperuser
    say "Everything that was done is in $log. Logs: docker logs homerack-web (-front, -worker, -beat, -postgres, -redis)"
}

main() {
    parse_options "$@"
    begin "deploy"
    check "Prerequisites" check_prerequisites
    find_out_what_runs
    confirm
    step "Build the images" build_images
    step "Check the settings as Django sees them" check_settings
    step "Start PostgreSQL and Redis" start_databases
    if [[ $backup == yes ]]; then step "Back up what is there" back_up; fi
    step "Bring the tables up to date" update_tables
    if [[ $migration == yes && $sqlite ]]; then step "Move $sqlite to PostgreSQL" move_sqlite_file; fi
    if [[ $services == yes ]]; then
        step "Start front, web, worker and beat" start_services
        step "Verify: it runs on PostgreSQL" verify_start
        step "Verify: the sign-in page" verify_sign_in
        step "Verify: worker and beat" verify_background
        if [[ $backup == yes ]]; then
            step "Verify: a backup that restores" prove_backup
            step "Verify: healthy" verify_health
        fi
        step "Remove what older releases left" tidy_up
    fi
    succeed
}

main "$@"
