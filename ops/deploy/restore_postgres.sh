#!/usr/bin/env bash
# Restores a backup in the running container: manage.py restore_database.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: restore_postgres.sh --backup-file BACKUP [options]

  --backup-file BACKUP   the name of a backup, or a file on this machine: a copy that backup_postgres.sh
                         made (with its .json file in the same directory), or a dump of pg_dump
  --container NAME       the container that runs the command (default: homerack-web)
  --force                do not ask for the database's name

The live database is backed up first. The previous database is kept: undo with manage.py undo_restore.

exit codes: 0 restored and verified · 2 wrong options · others as of manage.py restore_database
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
copy_into_container() {
    # shellcheck disable=SC2016  # for the shell in the container
    in_container sh -euc 'umask 077; cat >"$0"' "$1"
}

restore() {
    local terminal=()
    if [[ -t 0 ]]; then terminal=(--interactive --tty); fi
    if [[ $force == yes ]]; then set -- "$@" --yes; fi
    docker exec "${terminal[@]}" "$container" python manage.py restore_database "$@"
}

# A file of this machine. With its manifest its signature is checked; without one it is loaded as an untrusted file. The
# copy in the container is removed.
restore_file() {
    local folder copy
    folder=$(in_container mktemp --directory --tmpdir restore-XXXXXX)
    # shellcheck disable=SC2064  # the name as it is now
    trap "docker exec '$container' rm -r '$folder'" EXIT
    copy=$folder/$(basename "$backup")
    copy_into_container "$copy" <"$backup"
    if [[ -f $backup.json ]]; then
        copy_into_container "$copy.json" <"$backup.json"
        restore --backup-file "$copy"
    else
        restore --backup-file "$copy" --untrusted
    fi
}

parse_options "$@"
if [[ -f $backup ]]; then
    restore_file
else
    restore "$backup"
fi
