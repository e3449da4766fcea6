#!/usr/bin/env bash
# The `docker` of FakeEngine (fake_engine.py): containers are lines in files, and their commands run on this machine.
# A file "answer-…" says what a program in a container does.
state=$(dirname "$0")

has_line() { grep --quiet --line-regexp --fixed-strings -- "$2" "$state/$1"; }
answer() { cat "$state/answer-$1"; }

main() {
    local word code line="$*"
    printf '%s\n' "${line//$'\n'/ }" >>"$state/calls"
    word=$(answer slow)
    if [[ $word && $line == *"$word"* ]]; then sleep 1; fi
    while IFS=: read -r word code; do
        if [[ $word && $line == *"$word"* ]]; then
            printf '%s fails\n' "$word" >&2
            if [[ $(answer findings) ]]; then answer findings >"$state/backups/back-to-sqlite_20261130_findings.csv"; fi
            exit "$code"
        fi
    done < <(answer fails)
    handle "$@"
}

handle() {
    case "$1 ${2:-}" in
        "compose "*) in_compose "$@" ;;
        "image inspect") has_line images "$3" ;;
        "container inspect")
            if [[ $3 != --format ]]; then
                has_line containers "$3"
            elif has_line running "${!#}"; then
                echo true
            else
                echo false
            fi
            ;;
        "inspect --format") echo 0 ;;
        "start "*) printf '%s\n' "${@:2}" >>"$state/running" ;;
        "stop "*) for name in "${@:2}"; do sed -i "/^$name\$/d" "$state/running"; done ;;
        "exec homerack-postgres") in_postgres "${!#}" ;;
        "run "*)
            until [[ $1 == homerack:current ]]; do shift; done
            inside "${@:2}"
            ;;
    esac
}

in_compose() {
    if [[ " $* " != *" run "* ]]; then return; fi
    until [[ $1 == web ]]; do shift; done
    inside "${@:2}"
}

in_postgres() {
    if [[ $1 == *pg_database_size* ]]; then
        answer kibibytes
    else
        answer users
        [[ $(answer users) ]]
    fi
}

inside() {
    case $* in
        test*) [[ $(answer has_command) == yes ]] ;;
        *backup_database*) echo '{"backup": "homerack_1.sql.gz"}' ;;
        *migrate_to_sqlite*)
            mkdir "$(dirname "$(outside "${!#}")")"
            answer file >"$(outside "${!#}")"
            echo "Done. 363 rows."
            ;;
        cat*) answer copied ;;
        python*) echo homerack_1.sql.gz ;;
        *)
            local word command=()
            for word in "$@"; do command+=("$(outside "$word")"); done
            "${command[@]}"
            ;;
    esac
}

outside() { printf '%s' "${1//\/var\/lib\/homerack/$state}"; }

main "$@"
