#!/usr/bin/env bash
# Runs the tests of client crates against real servers: `run.sh` for all clients, `run.sh sqlx -- cancelled` for one
# client and a filter. Installs (on Debian, as root), starts and stops the servers that the clients need.
#
# Exports POSTGRES_URL, MARIADB_URL, REDIS_URL, KAFKA_BROKERS. A variable that is set already names a server to use instead.
set -euo pipefail
cd "$(dirname "$0")"

# per client: the servers that its tests need
declare -A needs=(
    [diesel]="libpq postgres"
    [mongodb]=""
    [rdkafka]="kafka"
    [reqwest]=""
    [reqwest-middleware]=""
    [redis]="redis"
    [sea-orm]="postgres"
    [sqlx]="postgres mariadb"
    [sqlx-0.8]="postgres"
)

parts=$PWD/../../scripts/real-parts.sh
# a separate set of servers, in addition to others that run on this machine
temporary=$(mktemp -d)
chmod 755 "$temporary"
export REAL_PARTS_DIR=$temporary/servers
# shellcheck disable=SC2317 # the trap calls it
stop() {
    "$parts" stop
    rm -rf "$temporary"
}
trap stop EXIT

# the library to which diesel links
install_libpq() {
    if [ -e /usr/include/postgresql/libpq-fe.h ]; then return; fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libpq-dev >/dev/null
}

clients=("${!needs[@]}")
arguments=()
if [ $# -gt 0 ] && [ "$1" != -- ]; then
    clients=("$1")
    shift
fi
if [ "${1:-}" = -- ]; then shift; fi
arguments=("$@")

declare -A variables=([postgres]=POSTGRES_URL [mariadb]=MARIADB_URL [redis]=REDIS_URL [kafka]=KAFKA_BROKERS)
servers=()
for client in "${clients[@]}"; do
    for server in ${needs[$client]-}; do
        if [ "$server" = libpq ]; then
            install_libpq
            continue
        fi
        variable=${variables[$server]}
        if [ -z "${!variable:-}" ]; then servers+=("$server"); fi
    done
done
if [ ${#servers[@]} -gt 0 ]; then
    "$parts" start "${servers[@]}"
    # the variables that only the marketplace reads are left out
    eval "$("$parts" urls | grep -v DATABASE_URL)"
fi
# one build for all clients except sqlx 0.8, which is a package of its own
tests=()
has_sqlx_0_8=
for client in "${clients[@]}"; do
    case $client in
        sqlx-0.8) has_sqlx_0_8=1 ;;
        *) tests+=("$client") ;;
    esac
done
status=0
run_tests() { ${CARGO:-cargo} test --locked --no-fail-fast "$@" -- --include-ignored "${arguments[@]}" || status=$?; }
if [ ${#tests[@]} -gt 0 ]; then
    run_tests --features "$(IFS=,; echo "${tests[*]}")" "${tests[@]/#/--test=}"
fi
if [ -n "$has_sqlx_0_8" ]; then run_tests --manifest-path sqlx-0.8/Cargo.toml; fi
exit "$status"
