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

# one broker that is its own controller; without an SLF4J binding it logs nothing
kafka() {
    if [ -n "${KAFKA_BROKERS:-}" ]; then return; fi
    install /usr/bin/java openjdk-17-jre-headless
    install /usr/bin/mvn maven
    local port controller jars=$PWD/target/kafka data=$dir/kafka log=$dir/kafka.log
    port=$(free_port)
    controller=$(free_port)
    if ! compgen -G "$jars/kafka_*.jar" >/dev/null; then
        mvn -q -f kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars"
    fi
    mkdir "$data"
    cat >"$data/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$data/log
auto.create.topics.enable=false
num.network.threads=1
num.io.threads=2
log.cleaner.dedupe.buffer.size=4194304
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
END
    local id
    id=$(head -c 16 /dev/urandom | basenc --base64url | tr -d =)
    java -cp "$jars/*" kafka.tools.StorageTool format -t "$id" -c "$data/server.properties" >"$log" 2>&1
    java -Xmx96m -XX:MaxDirectMemorySize=32m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" \
        kafka.Kafka "$data/server.properties" >>"$log" 2>&1 &
    pids+=($!)
    # the port opens before the broker is ready: the tests wait for their topics
    await "$log" bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
    export KAFKA_BROKERS=127.0.0.1:$port
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
