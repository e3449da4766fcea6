#!/usr/bin/env bash
# Makes a verified backup in the running container: manage.py backup_database, for crontabs.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: backup_postgres.sh [options]

  --note TEXT          a note, shown in lists of backups
  --retention-days N   prune older backups afterwards (default: BACKUP_RETENTION_DAYS)
  --backup-dir DIR     copy the backup and its manifest to this directory of the machine, where nothing is pruned
  --container NAME     the container that runs the command (default: homerack-web)
  --compress           compress the backup (the default)
  --no-compress        do not compress the backup

exit codes: 0 made and verified · 2 wrong options · others as of manage.py backup_database
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
                set_option "$1" "$2"
                shift
                ;;
            *) wrong_option "unknown option $1" ;;
        esac
        shift
    done
}

set_option() {
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

# A file in BACKUP_DIR, on standard output.
read_backup_file() {
    in_container python -c '
import shutil, sys, django
django.setup()
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf
with PrivateFileSystemStorage(conf.BACKUP_DIR).open(sys.argv[1]) as file:
    shutil.copyfileobj(file, sys.stdout.buffer)' "$1"
}

# The copies get their final names when they are complete and on the disk.
copy_backup() {
    local name=$1 file
    umask 077
    mkdir -p "$directory"
    for file in "$name" "$name.json"; do
        read_backup_file "$file" >"$directory/$file.partial"
        sync "$directory/$file.partial"
    done
    mv "$directory/$name.partial" "$directory/$name"
    mv "$directory/$name.json.partial" "$directory/$name.json"
    printf 'Copied to %s\n' "$directory/$name"
}

parse_options "$@"
result=$(in_container python manage.py backup_database "${options[@]}" --json)
name=$(in_container python -c 'import json, sys; print(json.loads(sys.argv[1])["backup"])' "$result")
if [[ $directory ]]; then copy_backup "$name"; fi
