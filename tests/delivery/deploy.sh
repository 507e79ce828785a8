#!/usr/bin/env bash
# Tests docker/deploy.sh with an SSH server on this machine and a stand-in for Docker. `deploy.sh` runs all tests,
# `deploy.sh roll_back` runs the tests whose name contains this text. Needs the SSH server and Python.
set -euo pipefail
cd "$(dirname "$0")"
script=$PWD/../../docker/deploy.sh

dir=$(mktemp -d)
sshd_pid=
stop_host() {
    [ -n "$sshd_pid" ] || return 0
    kill "$sshd_pid"
    wait "$sshd_pid" || true
    sshd_pid=
}
trap 'stop_host; rm -rf "$dir"' EXIT

fail() {
    echo "$*" >&2
    exit 1
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

sshd=$(command -v sshd || echo /usr/sbin/sshd)
[ -x "$sshd" ] || fail "sshd is missing: apt-get install openssh-server"
if [ "$(id -u)" = 0 ]; then mkdir -p /run/sshd; fi

# Starts the host: an SSH server whose sessions find the stand-in as `docker`.
start_host() {
    cat >"$dir/sshd_config" <<CONFIG
Port $port
ListenAddress 127.0.0.1
HostKey $dir/host_key
PidFile none
AuthorizedKeysFile $dir/user_key.pub
# a quick key exchange
KexAlgorithms curve25519-sha256
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv PATH=$PWD:/usr/local/bin:/usr/bin:/bin STATE=$dir/state
CONFIG
    # the log of the last host would end the wait below
    rm -f "$dir/sshd.log"
    "$sshd" -D -e -f "$dir/sshd_config" 2>"$dir/sshd.log" &
    sshd_pid=$!
    for _ in $(seq 200); do
        if grep -qs "Server listening" "$dir/sshd.log"; then return; fi
        kill -0 "$sshd_pid" 2>/dev/null || break
        sleep 0.05
    done
    cat "$dir/sshd.log" >&2
    fail "the SSH server does not start"
}

# Gives each test a host without a deployment.
set_up() {
    rm -rf "$dir/state" "$dir/host" "$dir/environments"
    mkdir "$dir/state" "$dir/host" "$dir/environments"
    touch "$dir/state/calls" "$dir/host/.env" "$dir/host/compose.yml"
    cat >"$dir/environments/staging.env" <<VARIABLES
DEPLOY_HOST=127.0.0.1
DEPLOY_PORT=$port
DEPLOY_USER=$user
DEPLOY_DIRECTORY=$dir/host
DEPLOY_REPOSITORY=registry.test:5000/shop
VARIABLES
    cp "$dir/environments/staging.env" "$dir/environments/production.env"
    publish 1.0.0 sha256:aaaa
    publish 1.1.0 sha256:bbbb
    export DEPLOY_ENVIRONMENTS=$dir/environments DEPLOY_WAIT=7
    export DEPLOY_SSH_KEY=$dir/user_key DEPLOY_KNOWN_HOSTS=$dir/known_hosts
}

publish() { echo "registry.test:5000/shop:$1 $2" >>"$dir/state/registry"; } # VERSION DIGEST
release() { "$script" deploy staging "$1" && "$script" check staging; }     # VERSION

expect() { # CODE TEXT COMMAND...: the command ends with the code, and its output contains the text
    local code=$1 text=$2 status=0
    shift 2
    "$@" >"$dir/output" 2>&1 || status=$?
    if [ "$status" != "$code" ] || ! grep -qF -- "$text" "$dir/output"; then
        cat "$dir/output" >&2
        fail "expected exit code $code and \"$text\" from: $*; the exit code is $status"
    fi
}
expect_running() { # DIGEST
    [ "$(cat "$dir/state/running")" = "registry.test:5000/shop@$1" ] || fail "$(cat "$dir/state/running") runs, not $1"
}
expect_file() { # FILE DIGEST
    [ "$(cat "$dir/host/$1")" = "MARKETPLACE_IMAGE=registry.test:5000/shop@$2" ] || fail "$1 is $(cat "$dir/host/$1"), not $2"
}
expect_no_calls() { [ ! -s "$dir/state/calls" ] || fail "unexpected calls: $(cat "$dir/state/calls")"; }

test_healthy_image_is_started_by_digest_and_recorded_as_good() {
    expect 0 "starting registry.test:5000/shop@sha256:aaaa" "$script" deploy staging 1.0.0
    [ ! -e "$dir/host/good-image.env" ] || fail "the image is recorded as good before the check"
    expect 0 "staging is healthy" "$script" check staging
    expect_running sha256:aaaa
    expect_file image.env sha256:aaaa
    expect_file good-image.env sha256:aaaa
    diff - "$dir/state/calls" <<'CALLS' || fail "the calls differ from the expected calls"
docker pull --quiet registry.test:5000/shop:1.0.0
docker image inspect --format {{range .RepoDigests}}{{println .}}{{end}} registry.test:5000/shop:1.0.0
docker compose --env-file .env --env-file image.env up --detach
docker compose --env-file .env --env-file image.env up --wait --wait-timeout 7
CALLS
}

test_image_prints_the_name_without_a_connection() {
    stop_host
    expect 0 "registry.test:5000/shop:1.0.0" env -u DEPLOY_SSH_KEY -u DEPLOY_KNOWN_HOSTS "$script" image staging 1.0.0
    start_host
}

test_image_in_the_registry_is_built() {
    local is_built=(env "PATH=$PWD:$PATH" "STATE=$dir/state" "$script" is-built)
    [ "$("${is_built[@]}" registry.test:5000/shop:1.0.0)" = yes ] || fail "an image in the registry is not found"
    [ "$("${is_built[@]}" registry.test:5000/shop:3.0.0)" = no ] || fail "an image that is not in the registry is found"
    touch "$dir/state/unreachable"
    expect 1 "cannot look up registry.test:5000/shop:1.0.0 in the registry: dial tcp" "${is_built[@]}" registry.test:5000/shop:1.0.0
}

test_unhealthy_image_is_rolled_back() {
    expect 0 "" release 1.0.0
    echo sha256:bbbb >"$dir/state/unhealthy"
    expect 1 "did not become healthy within 7 seconds" release 1.1.0
    expect_running sha256:bbbb
    expect_file good-image.env sha256:aaaa
    grep -q "^api registry" "$dir/output" || fail "the state of the services is not printed"
    expect 0 "staging runs the last good image" "$script" roll-back staging
    expect_running sha256:aaaa
    expect_file image.env sha256:aaaa
}

test_image_that_does_not_start_is_rolled_back() {
    expect 0 "" release 1.0.0
    echo sha256:bbbb >"$dir/state/broken"
    expect 1 "cannot start registry.test:5000/shop@sha256:bbbb" "$script" deploy staging 1.1.0
    expect 0 "staging runs the last good image" "$script" roll-back staging
    expect_running sha256:aaaa
}

test_roll_back_ignores_a_tag_that_was_pushed_again() {
    expect 0 "" release 1.0.0
    publish 1.0.0 sha256:cccc
    echo sha256:cccc >"$dir/state/unhealthy"
    expect 1 "did not become healthy" release 1.0.0
    expect_running sha256:cccc
    expect 0 "staging runs the last good image" "$script" roll-back staging
    expect_running sha256:aaaa
}

test_first_deployment_has_nothing_to_roll_back_to() {
    echo sha256:aaaa >"$dir/state/unhealthy"
    expect 1 "did not become healthy" release 1.0.0
    expect 1 "staging has no good image yet" "$script" roll-back staging
    expect_running sha256:aaaa
    [ ! -e "$dir/host/good-image.env" ] || fail "an unhealthy image is recorded as good"
}

test_roll_back_reports_a_last_good_image_that_is_unhealthy_now() {
    expect 0 "" release 1.0.0
    printf 'sha256:aaaa\nsha256:bbbb\n' >"$dir/state/unhealthy"
    expect 1 "did not become healthy" release 1.1.0
    expect 1 "roll-back failed: the last good image is not healthy in staging" "$script" roll-back staging
    expect_running sha256:aaaa
}

test_roll_back_reports_a_last_good_image_that_does_not_start() {
    expect 0 "" release 1.0.0
    echo sha256:bbbb >"$dir/state/unhealthy"
    expect 1 "did not become healthy" release 1.1.0
    echo sha256:aaaa >"$dir/state/broken"
    expect 1 "roll-back failed: 127.0.0.1 cannot start the last good image" "$script" roll-back staging
}

test_unknown_version_leaves_the_services_unchanged() {
    expect 0 "" release 1.0.0
    expect 1 "cannot pull registry.test:5000/shop:9.9.9; the services were not changed" "$script" deploy staging 9.9.9
    expect_running sha256:aaaa
    expect_file image.env sha256:aaaa
}

test_image_of_another_repository_is_not_started() {
    sed -i 's/5000.shop/5000\/sh.p/' "$dir/environments/staging.env"
    echo "registry.test:5000/sh.p:1.0.0 " >"$dir/state/registry"
    expect 1 "cannot pull" "$script" deploy staging 1.0.0
    echo "registry.test:5000/sh.p:1.0.0 md5:ffff" >"$dir/state/registry"
    expect 1 "has no digest of registry.test:5000/sh.p; the services were not changed" "$script" deploy staging 1.0.0
    [ ! -e "$dir/state/running" ] || fail "an image was started"
}

test_missing_directory_on_the_host_fails_the_deployment() {
    rm -r "$dir/host"
    expect 1 "cannot start" "$script" deploy staging 1.0.0
    expect 1 "did not become healthy" "$script" check staging
}

test_unreachable_host_is_reported() {
    expect 0 "" release 1.0.0
    stop_host
    local command
    for command in "deploy staging 1.1.0" "check staging" "roll-back staging"; do
        # shellcheck disable=SC2086 # words
        expect 3 "no SSH connection to $user@127.0.0.1:$port" "$script" $command
    done
    start_host
    expect_running sha256:aaaa
    expect 0 "staging is healthy" release 1.1.0
}

test_unknown_host_key_is_refused() {
    ssh-keygen -q -t ed25519 -N '' -f "$dir/other_key"
    echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$dir/other_key.pub")" >"$dir/other_hosts"
    expect 3 "no SSH connection" env DEPLOY_KNOWN_HOSTS="$dir/other_hosts" "$script" deploy staging 1.0.0
    expect 3 "no SSH connection" env DEPLOY_SSH_KEY="$dir/other_key" "$script" deploy staging 1.0.0
    expect_no_calls
}

test_wrong_environment_is_refused() {
    local environment
    for environment in "" test STAGING ../environments/staging ./staging 'staging; reboot' '*' $'staging\n' -v; do
        expect 2 "is unknown; allowed are: production staging" "$script" deploy "$environment" 1.0.0
        expect 2 "is unknown; allowed are: production staging" "$script" roll-back "$environment"
    done
    expect_no_calls
}

test_wrong_version_is_refused() {
    local version
    # shellcheck disable=SC2016 # literally
    for version in "" -v .1 '1.0.0; reboot' '$(reboot)' '`reboot`' 1.0/2 a:b 1@sha256:ab é $'1\n' "$(printf '1%.0s' {1..129})"; do
        expect 2 "is not an image tag" "$script" deploy staging "$version"
        expect 2 "is not an image tag" "$script" image staging "$version"
    done
    expect 0 "shop:1111" "$script" image staging "$(printf '1%.0s' {1..128})"
    expect_no_calls
}

test_wrong_arguments_print_the_usage() {
    local arguments
    for arguments in "" deploy "deploy staging" "deploy staging 1.0.0 now" "check staging 1.0.0" "remove staging" "roll-back"; do
        # shellcheck disable=SC2086 # words
        expect 2 "docker/deploy.sh deploy ENVIRONMENT VERSION" "$script" $arguments
    done
    expect_no_calls
}

test_wrong_variables_are_named() {
    local name
    for name in DEPLOY_SSH_KEY DEPLOY_KNOWN_HOSTS; do
        expect 2 "$name is not set" env -u "$name" "$script" deploy staging 1.0.0
        expect 2 "$name is not a readable file: /none" env "$name=/none" "$script" deploy staging 1.0.0
    done
    for name in 0 -1 2m 10000 '1; reboot'; do
        expect 2 "DEPLOY_WAIT is $name: it must be from 1 to 9999 seconds" env DEPLOY_WAIT="$name" "$script" deploy staging 1.0.0
    done
    for name in DEPLOY_HOST DEPLOY_PORT DEPLOY_USER DEPLOY_DIRECTORY DEPLOY_REPOSITORY; do
        grep -v "^$name=" "$dir/environments/production.env" >"$dir/environments/staging.env"
        expect 2 "$name is not set in" env "$name=x" "$script" deploy staging 1.0.0
    done
    expect_no_calls
}

ssh-keygen -q -t ed25519 -N '' -f "$dir/host_key"
ssh-keygen -q -t ed25519 -N '' -f "$dir/user_key"
port=$(free_port)
user=$(id -un)
echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$dir/host_key.pub")" >"$dir/known_hosts"
start_host

passed=0
for test in $(compgen -A function test_ | grep -F "${1:-}"); do
    set_up
    "$test"
    passed=$((passed + 1))
    echo "$test ... ok"
done
echo "$passed passed"
[ "$passed" -gt 0 ]
