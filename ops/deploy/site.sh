# shellcheck shell=bash disable=SC2034,SC2154  # the scripts share their variables
# The site as its containers are: how to call Compose, how to run something in the image, how to ask after its health.

root=$(cd "$here/../.." && pwd)
settings_file=$root/.env.production
image=homerack:current
candidate_image=homerack:candidate
previous_image=homerack:previous
front_image=homerack-front
first=yes swapped=no applied=0 safety=''

# The value of a variable in .env.production, or a default.
setting() {
    local value
    value=$(sed -n "s/^$1=//p" "$settings_file" | tail -n 1)
    printf '%s' "${value:-${2:-}}"
}

is_true() { [[ ${1,,} =~ ^(1|on|true|yes)$ ]]; }

# Whether Caddy stands in front of HomeRack, or a proxy that is somebody else's.
has_front() { [[ $(setting FRONT caddy) == caddy ]]; }

compose() {
    local files=(--file "$root/docker-compose.prod.yml")
    has_front || files+=(--file "$root/docker-compose.own-proxy.yml")
    "${compose_program[@]}" --project-name homerack --project-directory "$root" \
        "${files[@]}" --env-file "$settings_file" "$@"
}

# What is set in the shell would win over .env.production.
forget_variables_of_the_shell() {
    local name
    while read -r name; do unset "$name"; done < <(sed -nE 's/^#? ?([A-Z0-9_]+)=.*/\1/p' "$root/.env.production.example")
    unset HOMERACK_IMAGE HOMERACK_FRONT_IMAGE DATABASE_URL COMPOSE_FILE COMPOSE_PROJECT_NAME COMPOSE_PROFILES
}

find_out_what_runs() {
    if docker image inspect "$image" >/dev/null 2>&1; then first=no; fi
}

# Run a command in a container of its own: as web is, but from another image.
in_image() {
    local from=$1
    shift
    HOMERACK_IMAGE=$from compose run --rm --no-deps -T web "$@"
}

in_candidate() { in_image "$candidate_image" "$@"; }

in_web() { docker exec --interactive homerack-web "$@"; }

# What a path of keys leads to in the JSON object on standard input.
json_field() {
    docker run --rm --interactive --network none "$candidate_image" python -c '
import functools, json, sys
print(functools.reduce(lambda value, key: value[key], sys.argv[1:], json.load(sys.stdin)))' "$@"
}

wait_until_healthy() {
    local container=$1 deadline=$((SECONDS + $2)) state
    while state=$(docker inspect --format '{{.State.Health.Status}}' "$container" 2>>"$log") && [[ $state != healthy ]]; do
        if ((SECONDS > deadline)); then
            docker logs --tail 10 "$container" >>"$log" 2>&1 || true
            fail "$container is not healthy after $2 s, but ${state:-unknown}."
        fi
        sleep 1
    done
    [[ $state == healthy ]] || fail "$container is gone."
}

site_address() {
    local scheme=http port
    port=$(setting HTTP_PORT 80)
    if is_true "$(setting HTTPS true)"; then scheme=https port=$(setting HTTPS_PORT 443); fi
    if ! has_front || [[ $scheme:$port =~ ^(http:80|https:443)$ ]]; then port=''; fi
    printf '%s://%s%s/' "$scheme" "$(setting ALLOWED_HOSTS | cut -d , -f 1)" "${port:+:$port}"
}

# Ask the site as browsers do: through Caddy, whose certificate for localhost is its own authority's. Without Caddy, as
# the proxy does.
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

is_healthy() {
    local answer
    answer=$(health) && [[ $answer == '{"status": "healthy", "database_type": "postgresql"'* ]]
}

# Healthy but for backups and schedules: what was done in the past says nothing of an image, and the first backup is
# made after this.
is_well() {
    local answer
    answer=$(health) && [[ $answer == *'"database_type": "postgresql"'* ]] || return 1
    answer=$(sed -E 's/.*"checks": //; s/"(backups|schedules)": \{[^}]*\}//g' <<<"$answer")
    ! grep --quiet --extended-regexp '"status": "(degraded|maintenance|unhealthy)"' <<<"$answer"
}

# Ask one of the two for so many seconds. Gives up early on a web server that Docker has to start again and again.
within() {
    local deadline=$((SECONDS + $1))
    until "$2"; do
        if ((SECONDS > deadline)) || (($(docker inspect --format '{{.RestartCount}}' homerack-web) > 2)); then return 1; fi
        sleep 1
    done
}

wait_until() {
    within "$2" "$1" && return
    { health || docker logs --tail 20 homerack-web; } >>"$log" 2>&1
    fail "HomeRack does not say that it is healthy and on PostgreSQL." "Its own words: docker logs homerack-web"
}

health_summary() {
    in_web python -c 'import json, sys; it = json.load(sys.stdin); print(it["status"], "on", it["database_type"] + ";", "pool:", ", ".join(f"{k} {v}" for k, v in it["pool_info"].items()))'
}

# Whether PostgreSQL holds more than empty tables.
has_data() {
    local people
    people=$(docker exec homerack-postgres psql --no-psqlrc --tuples-only --no-align \
        --username "$(setting POSTGRES_USER homerack)" --dbname "$(setting POSTGRES_DB homerack)" \
        --command 'SELECT count(*) FROM accounts_user' 2>>"$log") && ((people))
}

# A copy of a SQLite file, with what stands in its -wal, on standard output. Read by whom the file belongs to.
take_snapshot_of() {
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
