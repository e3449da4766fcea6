# shellcheck shell=bash disable=SC2034,SC2154  # the scripts share their variables
# What is checked before anything is changed. All problems are listed at once.

least_free=$((5 << 20)) # KiB: an image, and a backup of a home lab
problems=()
# Values with blanks that every version of Compose reads as they are: lists of keys and names.
lists="^(BACKUP_LOCATIONS|BACKUP_LOCATION_[A-Z0-9_]+_HOST_KEY|BACKUP_AGE_[A-Z]+|BACKUP_SIGNING_KEY_FALLBACKS)=[^\"'\$#[:space:]]+( [^\"'\$#[:space:]]+)*$"
compose_program=()

problem() { problems+=("$1"); }

check_prerequisites() {
    check_programs
    check_settings_file
    if ((${#problems[@]} == 0)); then
        unset_shell_variables
        check_free "$(docker_folder)" "$least_free"
        if has_front; then
            check_port "$(setting HTTP_PORT 80)" HTTP_PORT homerack-front
            check_port "$(setting HTTPS_PORT 443)" HTTPS_PORT homerack-front
        else
            check_port "$(setting WEB_PORT 8000)" WEB_PORT homerack-web
        fi
        check_port "$(setting POSTGRES_PORT 5432)" POSTGRES_PORT homerack-postgres
        quietly compose config --quiet || problem "Compose cannot read docker-compose.prod.yml; see $log"
    fi
    check_recovery
    if [[ $sqlite && $migration == yes && ! -r $sqlite ]]; then problem "The SQLite file $sqlite cannot be read."; fi
    report_problems
    say "    $("${compose_program[@]}" version --short 2>/dev/null | sed 's/^v\?/Compose /'), Docker $(docker version --format '{{.Server.Version}}')"
}

report_problems() {
    ((${#problems[@]})) || return 0
    printf '  ✗ %s\n' "${problems[@]}" >&2
    fail "fix the items marked ✗ above (${#problems[@]})."
}

check_programs() {
    local program
    for program in docker curl flock; do
        command -v "$program" >/dev/null || problem "$program is not installed."
    done
    if command -v docker >/dev/null && ! docker info >/dev/null 2>&1; then
        problem "Docker does not answer. Is it running, and are you in the group docker?"
    fi
    if docker compose version >/dev/null 2>&1; then
        compose_program=(docker compose)
    elif [[ $(docker-compose version --short 2>/dev/null) =~ ^(1\.29|[2-9]) ]]; then
        compose_program=(docker-compose)
    else
        problem "Docker Compose 2 (or docker-compose 1.29) is not installed."
    fi
}

check_settings_file() {
    if [[ ! -f $settings_file ]]; then
        problem "There is no .env.production. Begin with: install -m 600 .env.production.example .env.production"
        return
    fi
    exec 9<"$settings_file"
    flock --nonblock 9 || problem "Another deployment is running."
    [[ $(stat --format %a "$settings_file") =~ 00$ ]] ||
        problem "Other users can read .env.production: chmod 600 .env.production"
    local line
    while read -r line; do problem "${line%%=*} in .env.production is still a placeholder."; done \
        < <(grep -E '^[A-Z0-9_]+=.*(CHANGE_ME|change-me|example\.org)' "$settings_file")
    while read -r line; do problem "${line%%=*} in .env.production: write the value without quotes, \$, blanks or comment."; done \
        < <(grep -E "^[A-Z0-9_]+=.*[\"'\$[:space:]]" "$settings_file" | grep -vE "$lists")
    check_secrets
    check_front
}

check_front() {
    [[ $(setting FRONT caddy) =~ ^(caddy|own)$ ]] || problem "FRONT in .env.production is neither caddy nor own."
    [[ $(setting TLS internal) =~ ^(internal|[^@]+@[^@]+)$ ]] ||
        problem "TLS in .env.production is neither internal nor an e-mail address for Let's Encrypt."
    [[ ! $(setting ALLOWED_HOSTS) =~ (^|,)\*(,|$) ]] ||
        problem "ALLOWED_HOSTS in .env.production is *: name the hosts, for which Caddy needs certificates."
}

check_secrets() {
    local name value
    for name in SECRET_KEY ALLOWED_HOSTS POSTGRES_PASSWORD POSTGRES_SUPERUSER_PASSWORD REDIS_PASSWORD; do
        value=$(setting "$name")
        if [[ $value == *CHANGE_ME* ]]; then
            continue
        elif [[ -z $value ]]; then
            problem "$name is not set in .env.production."
        elif [[ $name == SECRET_KEY && ${#value} -lt 50 ]]; then
            problem "SECRET_KEY in .env.production is shorter than 50 characters. Make one: openssl rand -hex 32"
        elif [[ $name == *_PASSWORD && ! $value =~ ^[A-Za-z0-9_-]{16,}$ ]]; then
            problem "$name in .env.production is not 16 or more letters, digits, - and _. Make one: openssl rand -hex 32"
        fi
    done
}

# Where Docker keeps images and volumes.
docker_folder() {
    local folder
    folder=$(docker info --format '{{.DockerRootDir}}')
    if [[ -d $folder ]]; then say "$folder"; else say "$root"; fi
}

# Whether so many KiB are free in a directory.
check_free() {
    local free
    free=$(df --output=avail "$1" | tail -n 1)
    if ((free < $2)) && [[ $force == no ]]; then
        problem "$((free >> 10)) MiB is free in $1; $((($2 >> 10) + 1)) MiB is needed. To continue anyway: --force"
    fi
}

# Without this, a port in use would be found only when the containers are started.
check_port() {
    local port=$1 name=$2 container=$3
    if [[ ! $port =~ ^[0-9]+$ ]]; then
        problem "$name in .env.production is not a number."
    elif (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null &&
        ! docker port "$container" 2>/dev/null | grep -q ":$port\$"; then
        problem "Port $port is in use. Choose another $name in .env.production."
    fi
}
