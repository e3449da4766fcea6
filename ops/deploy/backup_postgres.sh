#!/usr/bin/env bash
# Makes a proven backup in the running HomeRack: manage.py backup_database, for crontabs and for people who know this name.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: backup_postgres.sh [options]

  --note TEXT          a line that lists show beside it
  --retention-days N   afterwards, prune what HomeRack keeps and is older (default: BACKUP_RETENTION_DAYS)
  --backup-dir DIR     also copy the backup and its manifest to this folder of the machine; nothing is pruned there
  --container NAME     the container to make it in (default: homerack-web)
  --compress           write it compressed (the default)
  --no-compress        write it plain

exit codes: 0 made and proven complete · 2 wrong options · others as of manage.py backup_database
TEXT
}

container=homerack-web directory='' options=()

parse_options() {
    while (($#)); do
        case $1 in
            --compress) ;;
            --no-compress) options+=(--no-compress) ;;
            --help | -h) usage && exit 0 ;;
            --note | --retention-days | --backup-dir | --container)
                (($# > 1)) || wrong_option "$1 needs a value"
                take_value "$1" "$2"
                shift
                ;;
            *) wrong_option "unknown option $1" ;;
        esac
        shift
    done
}

take_value() {
    case $1 in
        --backup-dir) directory=$2 ;;
        --container) container=$2 ;;
        *) options+=("$1" "$2") ;;
    esac
}

wrong_option() {
    printf '%s\n\n' "$1" >&2
    usage >&2
    exit 2
}

in_container() { docker exec "$container" "$@"; }

# A file of the backups, wherever HomeRack keeps them, on standard output.
read_out() {
    in_container python -c '
import shutil, sys, django
django.setup()
from django.core.files.storage import storages
with storages["backups"].open(sys.argv[1]) as file:
    shutil.copyfileobj(file, sys.stdout.buffer)' "$1"
}

# The copies get their names when they are whole and on the disk: what has the name of a backup is one.
copy_out() {
    local name=$1 file
    umask 077
    mkdir -p "$directory"
    for file in "$name" "$name.json"; do
        read_out "$file" >"$directory/$file.partial"
        sync "$directory/$file.partial"
    done
    mv "$directory/$name.partial" "$directory/$name"
    mv "$directory/$name.json.partial" "$directory/$name.json"
    printf 'Copied to %s\n' "$directory/$name"
}

parse_options "$@"
result=$(in_container python manage.py backup_database "${options[@]}" --json)
name=$(in_container python -c 'import json, sys; print(json.loads(sys.argv[1])["backup"])' "$result")
if [[ $directory ]]; then copy_out "$name"; fi
