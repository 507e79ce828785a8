#!/usr/bin/env bash
# Runs the tests of client crates against real servers: `run.sh` for all clients, `run.sh sqlx -- cancelled` for one
# client and a filter. Installs (on Debian, as root), starts and stops the servers that the clients need.
#
# Exports POSTGRES_URL, MARIADB_URL, REDIS_URL. A variable that is set already names a server to use instead.
set -euo pipefail
cd "$(dirname "$0")"

# per client: the servers that its tests need
declare -A needs=(
    [diesel]="libpq postgres"
    [mongodb]=""
    [redis]="redis"
    [sqlx]="postgres mariadb"
)

dir=$(mktemp -d)
chmod 755 "$dir"
pids=()
stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$dir"
}
trap stop EXIT

fail() { echo "clients: $*" >&2; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# installs a Debian package if its program is missing
install() { # PROGRAM PACKAGE
    if ! compgen -G "$1" >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
    fi
}

# waits until a command succeeds
await() { # LOG COMMAND…
    local log=$1
    shift
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        kill -0 "${pids[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    cat "$log" >&2
    fail "the server does not answer: $*"
}

postgres() {
    if [ -n "${POSTGRES_URL:-}" ]; then return; fi
    install '/usr/lib/postgresql/*/bin/initdb' postgresql
    local bin port data=$dir/postgres
    bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)
    port=$(free_port)
    local as=()
    # PostgreSQL refuses to run as root
    if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=postgres --regid=postgres --init-groups); fi
    mkdir "$data"
    if [ "$(id -u)" = 0 ]; then chown postgres "$data"; fi
    "${as[@]}" "$bin/initdb" -D "$data/data" -U app -A trust -E UTF8 --no-locale --no-sync >"$dir/postgres.log" 2>&1
    "${as[@]}" "$bin/postgres" -D "$data/data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
        -c fsync=off >>"$dir/postgres.log" 2>&1 &
    pids+=($!)
    await "$dir/postgres.log" psql -h 127.0.0.1 -p "$port" -U app postgres -c 'CREATE DATABASE shop'
    export POSTGRES_URL=postgres://app:hunter2@127.0.0.1:$port/shop
}

mariadb() {
    if [ -n "${MARIADB_URL:-}" ]; then return; fi
    install /usr/sbin/mariadbd mariadb-server
    local port data=$dir/mariadb socket=$dir/mariadb/s.sock
    port=$(free_port)
    mkdir "$data"
    chown mysql:mysql "$data"
    mariadb-install-db --no-defaults --user=mysql --datadir="$data" --auth-root-authentication-method=normal \
        --skip-test-db >"$dir/mariadb.log" 2>&1
    /usr/sbin/mariadbd --no-defaults --user=mysql --datadir="$data" --port="$port" --bind-address=127.0.0.1 \
        --socket="$socket" --innodb-flush-log-at-trx-commit=0 --skip-log-bin >>"$dir/mariadb.log" 2>&1 &
    pids+=($!)
    # a client on this machine is `localhost` or `127.0.0.1`
    await "$dir/mariadb.log" command mariadb --no-defaults -uroot -S "$socket" -e "CREATE DATABASE shop;
        CREATE USER app@127.0.0.1 IDENTIFIED BY 'hunter2'; GRANT ALL ON shop.* TO app@127.0.0.1;
        CREATE USER app@localhost IDENTIFIED BY 'hunter2'; GRANT ALL ON shop.* TO app@localhost"
    export MARIADB_URL=mysql://app:hunter2@127.0.0.1:$port/shop
}

# the library to which diesel links
libpq() { install /usr/include/postgresql/libpq-fe.h libpq-dev; }

redis() {
    if [ -n "${REDIS_URL:-}" ]; then return; fi
    install /usr/bin/redis-server redis-server
    local port
    port=$(free_port)
    mkdir "$dir/redis"
    redis-server --port "$port" --bind 127.0.0.1 --save "" --appendonly no --dir "$dir/redis" >"$dir/redis.log" 2>&1 &
    pids+=($!)
    await "$dir/redis.log" redis-cli -p "$port" ping
    export REDIS_URL=redis://127.0.0.1:$port
}

clients=("${!needs[@]}")
arguments=()
if [ $# -gt 0 ] && [ "$1" != -- ]; then
    clients=("$1")
    shift
fi
if [ "${1:-}" = -- ]; then shift; fi
arguments=("$@")

for client in "${clients[@]}"; do
    for server in ${needs[$client]-}; do "$server"; done
done
for client in "${clients[@]}"; do
    ${CARGO:-cargo} test --locked --features "$client" --test "$client" -- --include-ignored "${arguments[@]}"
done
