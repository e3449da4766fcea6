#!/usr/bin/env bash
# Restores a backup in the running HomeRack: manage.py restore_database, for people who know this name.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: restore_postgres.sh --backup-file BACKUP [options]

  --backup-file BACKUP   the name of one of HomeRack's backups, or a file on this machine: a copy that
                         backup_postgres.sh made (with its .json beside it), or what pg_dump wrote
  --container NAME       the container to restore in (default: homerack-web)
  --force                do not ask for the database's name

The database that is replaced is backed up first, and kept: manage.py undo_restore brings it back.

exit codes: 0 restored and compared · 2 wrong options · others as of manage.py restore_database
TEXT
}

container=homerack-web backup='' force=no

parse_options() {
    while (($#)); do
        case $1 in
            --force) force=yes ;;
            --help | -h) usage && exit 0 ;;
            --backup-file | --container)
                (($# > 1)) || wrong_option "$1 needs a value"
                if [[ $1 == --container ]]; then container=$2; else backup=$2; fi
                shift
                ;;
            *) wrong_option "unknown option $1" ;;
        esac
        shift
    done
    [[ $backup ]] || wrong_option "--backup-file is missing"
}

wrong_option() {
    printf '%s\n\n' "$1" >&2
    usage >&2
    exit 2
}

in_container() { docker exec --interactive "$container" "$@"; }

# Write standard input to a private file of the container.
copy_in() {
    # shellcheck disable=SC2016  # for the shell in the container
    in_container sh -euc 'umask 077; cat >"$0.partial" && mv "$0.partial" "$0"' "$1"
}

restore() {
    local terminal=()
    if [[ -t 0 ]]; then terminal=(--interactive --tty); fi
    if [[ $force == yes ]]; then set -- "$@" --yes; fi
    docker exec "${terminal[@]}" "$container" python manage.py restore_database "$@"
}

# A file of a stranger: it is loaded as one, and does not stay.
restore_foreign_file() {
    local copy
    copy=$(in_container printenv TMPDIR)/restore-$$-$(basename "$backup")
    # shellcheck disable=SC2064  # the name as it is now
    trap "docker exec '$container' rm -f '$copy' '$copy.partial'" EXIT
    copy_in "$copy" <"$backup"
    restore --backup-file "$copy" --untrusted
}

# A copy of a backup of ours goes back to where it came from, unless it still is there. Its signature tells whether it
# is one.
restore_own_copy() {
    local original
    original=$(in_container printenv BACKUP_DIR)/$(basename "$backup")
    if ! in_container test -e "$original"; then
        copy_in "$original" <"$backup"
        copy_in "$original.json" <"$backup.json"
    fi
    restore "$(basename "$backup")"
}

parse_options "$@"
if [[ ! -f $backup ]]; then
    restore "$backup"
elif [[ -f $backup.json ]]; then
    restore_own_copy
else
    restore_foreign_file
fi
