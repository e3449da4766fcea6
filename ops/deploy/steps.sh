# shellcheck shell=bash disable=SC2034,SC2154  # the scripts share their variables
# Running a list of steps: each prints its name and duration; a failure prints the step, the reason, what was changed and
# how to roll back. The script that sources this file defines roll_back and show_next_steps.

dry_run=no
work='' log='' log_begins=1 title='' reason='' hint=''
changes=()
began=$SECONDS succeeded=no

say() { printf '%s\n' "$*"; }

# Create a private folder for files that steps pass on, and the log.
begin() {
    work=$(mktemp -d)
    log=$root/$1.log
    (umask 077 && printf '\n=== %s\n' "$(date --utc '+%Y-%m-%d %H:%M:%S UTC')" >>"$log")
    # A trap runs with the redirections of the function that was interrupted.
    exec {output}>&1 {errors}>&2
    trap finish EXIT
    trap 'fail "Interrupted."' HUP INT PIPE TERM
}

# A step that changes nothing: a dry run runs it as well.
check() {
    title=$1
    local started=${EPOCHREALTIME/./}
    printf '\n--- %s\n' "$title" >>"$log"
    log_begins=$(($(wc -l <"$log") + 1))
    say "▸ $title"
    "$2"
    printf '✓ %s %d.%d s\n' "$title" $(((${EPOCHREALTIME/./} - started) / 1000000)) \
        $(((${EPOCHREALTIME/./} - started) / 100000 % 10))
    title=''
}

step() {
    if [[ $dry_run == yes ]]; then
        say "  would: $1"
    else
        check "$@"
    fi
}

# Run with the output in the log.
quietly() { "$@" >>"$log" 2>&1; }

changed() { changes+=("$1"); }

fail() {
    reason=$1 hint=${2:-}
    exit 1
}

succeed() {
    if [[ $dry_run == yes ]]; then
        say "Nothing was changed: this was a dry run."
    else
        show_next_steps
        say "Done in $((SECONDS - began)) s."
    fi
    succeeded=yes
}

# Runs at every exit. The status is not that of the shell, which may be 0, 2 or 130 after a signal.
finish() {
    trap - EXIT
    exec 1>&"$output" 2>&"$errors"
    # A rollback is not interrupted, even if its terminal or the reader of its output is gone.
    trap '' HUP INT PIPE TERM
    set +e
    if [[ $succeeded == no ]]; then report_failure >&2; fi
    rm -rf "$work"
    if [[ $succeeded == yes ]]; then exit 0; else exit 1; fi
}

report_failure() {
    say ""
    say "✗ ${title:-The deployment} failed: ${reason:-see the end of the log.}"
    if [[ $hint ]]; then say "  $hint"; fi
    local excerpt
    excerpt=$(tail -n "+$log_begins" "$log" | tail -n 15)
    if [[ $title && $excerpt ]]; then
        say "  The end of $log:"
        printf '  | %s\n' "${excerpt//$'\n'/$'\n'  | }"
    fi
    if ((${#changes[@]})); then
        say "What was changed:"
        printf '  - %s\n' "${changes[@]}"
    else
        say "Nothing was changed."
    fi
    roll_back
}
