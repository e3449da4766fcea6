# shellcheck shell=bash disable=SC2034,SC2154  # the scripts share their variables
# The containers of the site: calling Compose, running commands in the image, querying health.

root=$(cd "$here/../.." && pwd)
settings_file=$root/.env.production
image=homerack:current
candidate_image=homerack:candidate
previous_image=homerack:previous
front_image=homerack-front
# Not the database of migrations that users start themselves.
own_database=(-e POSTGRES_URL= -e POSTGRES_URL_FILE=)
runner=$candidate_image # runs what needs Python, but not the site
first=yes swapped=no applied=0 safety=''
more_files=() # further options of Compose

# The value of a variable in .env.production, or a default.
setting() {
    local value
    value=$(sed -n "s/^$1=//p" "$settings_file" | tail -n 1)
    printf '%s' "${value:-${2:-}}"
}

is_true() { [[ ${1,,} =~ ^(1|on|true|yes)$ ]]; }

# Whether Caddy is in front of HomeRack, or a proxy of your own.
has_front() { [[ $(setting FRONT caddy) == caddy ]]; }

compose() {
    local files=(--file "$root/docker-compose.prod.yml")
    has_front || files+=(--file "$root/docker-compose.own-proxy.yml")
    files+=("${more_files[@]}")
    "${compose_program[@]}" --project-name homerack --project-directory "$root" \
        "${files[@]}" --env-file "$settings_file" "$@"
}

# Variables of the shell would override .env.production.
unset_shell_variables() {
    local name
    while read -r name; do unset "$name"; done < <(sed -nE 's/^#? ?([A-Z0-9_]+)=.*/\1/p' "$root/.env.production.example")
    unset HOMERACK_IMAGE HOMERACK_FRONT_IMAGE DATABASE_URL COMPOSE_FILE COMPOSE_PROJECT_NAME COMPOSE_PROFILES
}

detect_installation() {
    if docker image inspect "$image" >/dev/null 2>&1; then first=no; fi
}

# Run a command in a new container like web, from another image.
in_image() {
    local from=$1
    shift
    HOMERACK_IMAGE=$from compose run --rm --no-deps -T "${own_database[@]}" web "$@"
}

in_candidate() { in_image "$candidate_image" "$@"; }

# Ctrl-C in a terminal ends all programs of its session, but not what Docker does for them.
uninterrupted() { setsid --wait "$@"; }

is_running() { [[ $(docker container inspect --format '{{.State.Running}}' "$1" 2>>"$log") == true ]]; }

in_web() { docker exec --interactive homerack-web "$@"; }

# The value at a path of keys in the JSON object on standard input.
json_field() {
    docker run --rm --interactive --network none "$runner" python -c '
import functools, json, sys
print(functools.reduce(lambda value, key: value[key], sys.argv[1:], json.load(sys.stdin)))' "$@"
}

wait_until_healthy() {
    local container=$1 deadline=$((SECONDS + $2)) state
    while state=$(docker inspect --format '{{.State.Health.Status}}' "$container" 2>>"$log") && [[ $state != healthy ]]; do
        if ((SECONDS > deadline)); then
            docker logs --tail 10 "$container" >>"$log" 2>&1 || true
            fail "$container is not healthy after $2 s (state: ${state:-unknown})."
        fi
        sleep 1
    done
    [[ $state == healthy ]] || fail "$container does not exist."
}

site_address() {
    local scheme=http port
    port=$(setting HTTP_PORT 80)
    if is_true "$(setting HTTPS true)"; then scheme=https port=$(setting HTTPS_PORT 443); fi
    if ! has_front || [[ $scheme:$port =~ ^(http:80|https:443)$ ]]; then port=''; fi
    printf '%s://%s%s/' "$scheme" "$(setting ALLOWED_HOSTS | cut -d , -f 1)" "${port:+:$port}"
}

# Request a path as browsers do, through Caddy, whose certificate for localhost is from its own authority. Without Caddy,
# as the proxy does.
ask() {
    local address port bind
    if ! has_front; then
        address=http://localhost:8000 port=$(setting WEB_PORT 8000) bind=$(setting WEB_BIND 127.0.0.1)
    elif is_true "$(setting HTTPS true)"; then
        address=https://localhost port=$(setting HTTPS_PORT 443) bind=$(setting FRONT_BIND 0.0.0.0)
    else
        address=http://localhost port=$(setting HTTP_PORT 80) bind=$(setting FRONT_BIND 0.0.0.0)
    fi
    if [[ $bind == 0.0.0.0 ]]; then bind=127.0.0.1; fi
    curl --silent --fail --max-time 10 --insecure --connect-to "::$bind:$port" --header 'X-Forwarded-Proto: https' "$address$1"
}

health() { ask /health/; }

# Healthy except for the checks named by a regular expression.
is_healthy_except() {
    local answer
    answer=$(health) && [[ $answer == *'"database_type": "postgresql"'* ]] || return 1
    answer=$(sed -E "s/.*\"checks\": //; s/\"($1)\": \{[^}]*\}//g" <<<"$answer")
    ! grep --quiet --extended-regexp '"status": "(degraded|maintenance|unhealthy)"' <<<"$answer"
}

# A deployment has verified its own backup. What rows have lost, copies and recovery kits do not depend on the image.
is_healthy() { is_healthy_except 'backups|copies|backup_keys'; }

# Schedules do not depend on the image either.
is_running_well() { is_healthy_except 'backups|copies|backup_keys|schedules'; }

# Repeat a check for so many seconds. Fails early when Docker has restarted the web server three times.
wait_within() {
    local deadline=$((SECONDS + $1))
    until "$2"; do
        if ((SECONDS > deadline)) || (($(docker inspect --format '{{.RestartCount}}' homerack-web) > 2)); then return 1; fi
        sleep 1
    done
}

wait_until() {
    wait_within "$2" "$1" && return
    { health || docker logs --tail 20 homerack-web; } >>"$log" 2>&1
    fail "HomeRack is not healthy on PostgreSQL." "The reason is in: docker logs homerack-web"
}

health_summary() {
    in_web python -c 'import json, sys; it = json.load(sys.stdin); print(it["status"], "on", it["database_type"] + ";", "pool:", ", ".join(f"{k} {v}" for k, v in it["pool_info"].items()))'
}

# Whether PostgreSQL holds more than empty tables.
has_data() {
    local users
    users=$(docker exec homerack-postgres psql --no-psqlrc --tuples-only --no-align \
        --username "$(setting POSTGRES_USER homerack)" --dbname "$(setting POSTGRES_DB homerack)" \
        --command 'SELECT count(*) FROM accounts_user' 2>>"$log") && ((users))
}

# A copy of a SQLite file, including its -wal file, on standard output. Read as the owner of the file.
snapshot_of() {
    local folder name
    folder=$(cd "$(dirname "$1")" && pwd) name=$(basename "$1")
    docker run --rm --network none --user "$(stat --format %u:%g "$1")" --volume "$folder:/source" --env TMPDIR=/tmp \
        "$candidate_image" python -c '
import shutil, sqlite3, sys, urllib.parse
source = sqlite3.connect(f"file:/source/{urllib.parse.quote(sys.argv[1])}?mode=ro", uri=True)
snapshot = sqlite3.connect("/tmp/snapshot.db")
source.backup(snapshot)
snapshot.execute("PRAGMA journal_mode = DELETE")
snapshot.close()
with open("/tmp/snapshot.db", "rb") as file:
    shutil.copyfileobj(file, sys.stdout.buffer)
' "$name"
}
