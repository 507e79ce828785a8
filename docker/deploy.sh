#!/usr/bin/env bash
# Deploys an image of the marketplace to the host of an environment by SSH.
set -euo pipefail
export LC_ALL=C

usage="\
docker/deploy.sh image ENVIRONMENT VERSION    prints the name of the image, after checking the parameters
docker/deploy.sh is-built IMAGE               prints 'yes' if the image is in the registry, else 'no'
docker/deploy.sh deploy ENVIRONMENT VERSION   pulls the image on the host and starts the services from it
docker/deploy.sh check ENVIRONMENT            waits until the services are healthy, and records the image as good
docker/deploy.sh roll-back ENVIRONMENT        starts the last good image and waits until the services are healthy

ENVIRONMENT is the name of a file in docker/environments, without '.env'. The file sets:
  DEPLOY_HOST          the host
  DEPLOY_PORT          the port of its SSH server
  DEPLOY_USER          the user on the host; must be allowed to use Docker
  DEPLOY_DIRECTORY     the directory on the host that contains the Compose file and its '.env'
  DEPLOY_REPOSITORY    the image without its tag, including the registry
VERSION is an image tag: a letter, digit or '_', then up to 127 letters, digits, '_', '.' or '-'.

Environment variables:
  DEPLOY_SSH_KEY       the file with the user's private key; required for all commands that use the host
  DEPLOY_KNOWN_HOSTS   the file with the host's public key; required for all commands that use the host
  DEPLOY_WAIT          how many seconds the services may take to become healthy; default: 120
  DEPLOY_ENVIRONMENTS  another directory in place of docker/environments

The host needs Docker with Compose 2.17 or later and read access to the registry. Its Compose file must use
MARKETPLACE_IMAGE as the image of the services and define their health checks. The script writes two files to the directory
of the Compose file: 'image.env' sets MARKETPLACE_IMAGE to the image that was deployed last, and 'good-image.env' sets it to
the last healthy image. Both files contain the digest, so a roll-back does not depend on tags that were pushed again.

Exit codes: 0 success, 1 failure on the host, 2 wrong parameter or variable, 3 no SSH connection to the host."

log() { printf 'deploy: %s\n' "$*" >&2; }
fail() { # CODE MESSAGE
    log "$2"
    exit "$1"
}

read_parameters() { # ENVIRONMENT [VERSION]
    local directory file allowed name
    directory=${DEPLOY_ENVIRONMENTS:-$(dirname "$0")/environments}
    allowed=$(cd "$directory" && for file in *.env; do printf ' %s' "${file%.env}"; done)
    file=$directory/$1.env
    if [[ ! $1 =~ ^[a-z][a-z0-9-]*$ || ! -f $file ]]; then
        fail 2 "environment $(printf %q "$1") is unknown; allowed are:$allowed"
    fi
    environment=$1
    unset DEPLOY_HOST DEPLOY_PORT DEPLOY_USER DEPLOY_DIRECTORY DEPLOY_REPOSITORY
    # shellcheck source-path=SCRIPTDIR source=environments/staging.env
    . "$file"
    for name in DEPLOY_HOST DEPLOY_PORT DEPLOY_USER DEPLOY_DIRECTORY DEPLOY_REPOSITORY; do
        [ -n "${!name:-}" ] || fail 2 "$name is not set in $file"
    done
    if [ $# -gt 1 ]; then
        [[ $2 =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || fail 2 "version $(printf %q "$2") is not an image tag"
        image=$DEPLOY_REPOSITORY:$2
    fi
}

read_variables() {
    local name
    for name in DEPLOY_SSH_KEY DEPLOY_KNOWN_HOSTS; do
        [ -n "${!name:-}" ] || fail 2 "$name is not set"
        [ -r "${!name}" ] || fail 2 "$name is not a readable file: ${!name}"
    done
    wait_seconds=${DEPLOY_WAIT:-120}
    [[ $wait_seconds =~ ^[1-9][0-9]{0,3}$ ]] || fail 2 "DEPLOY_WAIT is $wait_seconds: it must be from 1 to 9999 seconds"
}

# Runs a command on the host. Returns 0 or 1. If there is no connection, ends the script with code 3.
on_host() {
    local status=0
    ssh -F none -T -p "$DEPLOY_PORT" -l "$DEPLOY_USER" -i "$DEPLOY_SSH_KEY" \
        -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes \
        -o UserKnownHostsFile="$DEPLOY_KNOWN_HOSTS" -o GlobalKnownHostsFile=none \
        -o ConnectTimeout=10 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 -o LogLevel=ERROR \
        "$DEPLOY_HOST" "$(printf '%q ' "$@")" </dev/null || status=$?
    [ "$status" != 255 ] || fail 3 "no SSH connection to $DEPLOY_USER@$DEPLOY_HOST:$DEPLOY_PORT"
    [ "$status" = 0 ]
}

# Runs a shell command in the deployment directory. The argument is the command's "$1".
in_directory() { # COMMAND [ARGUMENT]
    # shellcheck disable=SC2016 # expanded on the host
    on_host sh -c 'cd "$1" && shift && '"$1" sh "$DEPLOY_DIRECTORY" "${2:-}"
}

compose="docker compose --env-file .env --env-file image.env"

await_health() {
    in_directory "$compose up --wait --wait-timeout $wait_seconds" && return
    # prints only the state of the services, because their logs can contain secrets
    in_directory "$compose ps --all" || true
    return 1
}

deploy() {
    local digests line digest=
    log "pulling $image on $DEPLOY_HOST"
    on_host docker pull --quiet "$image" || fail 1 "$DEPLOY_HOST cannot pull $image; the services were not changed"
    digests=$(on_host docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image") || exit
    while read -r line; do
        if [[ $line == "$DEPLOY_REPOSITORY"@sha256:* ]]; then digest=$line; fi
    done <<<"$digests"
    [ -n "$digest" ] || fail 1 "$image has no digest of $DEPLOY_REPOSITORY; the services were not changed"
    log "starting $digest in $environment"
    # shellcheck disable=SC2016 # expanded on the host
    in_directory 'printf "MARKETPLACE_IMAGE=%s\n" "$1" >image.env.new && mv image.env.new image.env && '"$compose up --detach" \
        "$digest" || fail 1 "$DEPLOY_HOST cannot start $digest"
}

check() {
    await_health || fail 1 "the services in $environment did not become healthy within $wait_seconds seconds"
    in_directory 'cp image.env good-image.env.new && mv good-image.env.new good-image.env' \
        || fail 1 "$DEPLOY_HOST cannot record the good image"
    log "$environment is healthy"
}

roll_back() {
    in_directory 'test -e good-image.env' \
        || fail 1 "cannot roll back: $environment has no good image yet; the services were not changed"
    log "rolling back $environment to $(in_directory 'cat good-image.env')"
    in_directory 'cp good-image.env image.env.new && mv image.env.new image.env'" && $compose up --detach" \
        || fail 1 "roll-back failed: $DEPLOY_HOST cannot start the last good image"
    await_health || fail 1 "roll-back failed: the last good image is not healthy in $environment"
    log "$environment runs the last good image"
}

# Prints whether an image is in the registry. Fails if the registry does not answer, because the image may be there.
is_built() { # IMAGE
    local error
    if error=$(docker manifest inspect "$1" 2>&1 >/dev/null); then
        echo yes
    elif [[ $error =~ (no\ such\ manifest|manifest\ unknown|name\ unknown) ]]; then
        echo no
    else
        fail 1 "cannot look up $1 in the registry: $error"
    fi
}

case "${1:-} $#" in
    "image 3")
        read_parameters "$2" "$3"
        echo "$image"
        ;;
    "is-built 2") is_built "$2" ;;
    "deploy 3")
        read_parameters "$2" "$3"
        read_variables
        deploy
        ;;
    "check 2")
        read_parameters "$2"
        read_variables
        check
        ;;
    "roll-back 2")
        read_parameters "$2"
        read_variables
        roll_back
        ;;
    "help 1" | "--help 1" | "-h 1") echo "$usage" ;;
    *)
        echo "$usage" >&2
        exit 2
        ;;
esac
