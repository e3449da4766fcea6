# shellcheck shell=bash disable=SC2034,SC2154  # the scripts share their variables
# Recovering on an empty machine: fill the new PostgreSQL from a storage location, before the tables are made. The keys of
# the recovery kit are typed into the container, or reach it through its standard input: they are in no argument and in no
# variable, and are not logged.

recover_from='' kit=''

check_recovery() {
    [[ $recover_from ]] || return 0
    if [[ $recover_from == /* && ! -d $recover_from ]]; then problem "There is no directory $recover_from. Is the disk mounted?"; fi
    if [[ $kit && ! -r $kit ]]; then problem "The file $kit cannot be read."; fi
    if [[ -z $kit && ! (-t 0 && -t 1) && $dry_run == no ]]; then
        problem "Without a terminal, the keys of the recovery kit have to be in a file: --identity-file FILE"
    fi
}

recover_database() {
    if has_data; then
        fail "PostgreSQL is not empty: only an empty database is recovered." \
            "To replace its data by a backup: ops/deploy/restore_postgres.sh --help"
    fi
    local options=(--rm --no-deps "${own_database[@]}") command=(python manage.py recover --from "$recover_from") failed=no
    if [[ $recover_from == /* ]]; then read_directory; fi
    if [[ $kit ]]; then
        HOMERACK_IMAGE=$candidate_image compose run -T "${options[@]}" web "${command[@]}" --identity-file - --yes \
            <"$kit" 2>&1 | tee --append "$log" || failed=yes
    else
        HOMERACK_IMAGE=$candidate_image compose run "${options[@]}" web "${command[@]}" || failed=yes
    fi
    more_files=()
    # The report of a failure does not repeat what is on the screen.
    log_begins=$(($(wc -l <"$log") + 1))
    [[ $failed == no ]] || fail "Nothing was recovered." "Read the lines above, and run the same command again."
    changed "the database was recovered from $recover_from"
}

# A directory of this machine is mounted where it is, and only for reading. Its files belong to other users, and only they
# can read them: the command gets the right to read all files, and no other right of root.
read_directory() {
    printf 'services:\n  web:\n    user: "0:0"\n    cap_add: [DAC_READ_SEARCH, SETGID, SETUID]\n' >"$work/recovery.yml"
    more_files=(--file "$work/recovery.yml")
    options+=(--volume "$recover_from:$recover_from:ro")
    command=(setpriv --reuid=10001 --regid=10001 --clear-groups --inh-caps=+dac_read_search
        --ambient-caps=+dac_read_search "${command[@]}")
}
