#!/usr/bin/env bash
# Starts real servers without Docker: PostgreSQL, MariaDB and Redis from Debian's packages, Apache Kafka from its jars.
#
#   scripts/real-parts.sh start [SERVER…]   starts the servers (postgres, mariadb, redis, kafka; default: all four)
#   scripts/real-parts.sh urls              prints their URLs as variables: eval "$(scripts/real-parts.sh urls)"
#   scripts/real-parts.sh stop              stops the servers, and removes their data
#
# `start` returns when each server answers requests. If it runs as root, it installs missing packages. A server that is
# already running is kept. A server that was killed is started again with its data (Redis has no data, because it stores
# nothing) and, if possible, on the same port.
#
# REAL_PARTS_DIR is the folder for data, logs and process ids (SERVER/pid). The default is a folder per user in the temporary
# directory. If the script runs as root, other users must be able to enter the folder. Servers with different folders
# can run at the same time.
#
# The servers listen on free ports of 127.0.0.1. Committed data in PostgreSQL, MariaDB and Kafka survives if the server is
# killed, but not if the machine stops. PostgreSQL, Redis and Kafka check no password. Do not use them for data that you need.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dir=${REAL_PARTS_DIR:-${TMPDIR:-/tmp}/tower-apm-real-parts-$(id -u)}
kafka_jars=$root/target/real-parts/kafka-4.4.0
all=(postgres mariadb redis kafka)
password=hunter2

fail() { echo "real-parts: $*" >&2; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
is_free() { python3 -c 'import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", int(sys.argv[1])))' "$1" 2>/dev/null; }

# installs a Debian package if its program is missing
install() { # PROGRAM PACKAGE
    if compgen -G "$1" >/dev/null; then return; fi
    is_root || fail "$1 is missing: install the package $2"
    apt-get update -qq >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
}

# prints the start time of a process that runs; a process id alone may belong to a later process
process() { # PID
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # the program's name, in parentheses, can contain spaces
    read -r -a stat <<<"${stat##*) }"
    [ "${stat[0]}" != Z ] && echo "${stat[19]}"
}

is_running() { # SERVER
    local pid started
    [ -e "$dir/$1/pid" ] && [ -e "$dir/$1/started" ] || return 1
    pid=$(cat "$dir/$1/pid")
    started=$(cat "$dir/$1/started")
    # a server that ended immediately has no start time
    [ -n "$started" ] && [ "$(process "$pid")" = "$started" ]
}

# runs a server in the background, independent of this script
launch() { # SERVER COMMAND…
    local server=$1 log=$dir/$1/log pid
    shift
    # closes the descriptor of the lock, because the server runs longer than the lock is held
    setsid "$@" </dev/null >>"$log" 2>&1 9>&- &
    pid=$!
    echo "$pid" >"$dir/$server/pid"
    process "$pid" >"$dir/$server/started" || true
    launched+=("$server")
}

# waits until a command succeeds; returns 1 if the server ends before that
await() { # SERVER COMMAND…
    local server=$1
    shift
    for _ in $(seq 600); do
        is_running "$server" || return 1
        if "$@" >/dev/null 2>&1 && is_running "$server"; then return; fi
        sleep 0.1
    done
    return 1
}

port() { cat "$dir/$1/port"; }

# chooses a port: the previous port of the server if it is free
choose_port() { # NAME
    if [ -e "$dir/$1/port" ] && is_free "$(port "$1")"; then return; fi
    free_port >"$dir/$1/port"
}

# PostgreSQL refuses to run as root
as_postgres() { if is_root; then setpriv --reuid=postgres --regid=postgres --init-groups "$@"; else "$@"; fi; }

postgres_install() { install '/usr/lib/postgresql/*/bin/initdb' postgresql; }
postgres_bin() { compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1; }
postgres_sql() { psql -v ON_ERROR_STOP=1 -X -qtA -h 127.0.0.1 -p "$(port postgres)" -U app postgres "$@"; }
postgres_start() {
    local data=$dir/postgres/data as=()
    if is_root; then as=(setpriv --reuid=postgres --regid=postgres --init-groups); fi
    if [ ! -e "$data/PG_VERSION" ]; then
        rm -rf "$data"
        mkdir "$data"
        if is_root; then chown postgres "$data"; fi
        as_postgres "$(postgres_bin)/initdb" -D "$data" -U app -A trust -E UTF8 --no-locale --no-sync \
            >>"$dir/postgres/log" 2>&1 || return 1
    fi
    launch postgres "${as[@]}" "$(postgres_bin)/postgres" -D "$data" -p "$(port postgres)" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c max_connections=200
    await postgres postgres_sql -c 'SELECT 1' || return 1
    local database
    for database in shop market wallet; do
        if [ -z "$(postgres_sql -c "SELECT 1 FROM pg_database WHERE datname = '$database'")" ]; then
            postgres_sql -c "CREATE DATABASE $database" >>"$dir/postgres/log" 2>&1 || return 1
        fi
    done
}
postgres_urls() {
    local server
    server=postgres://app:$password@127.0.0.1:$(port postgres)
    echo "export POSTGRES_URL=$server/shop"
    echo "export DATABASE_URL=$server/market"
    echo "export WALLET_DATABASE_URL=$server/wallet"
}

mariadb_install() { install /usr/sbin/mariadbd mariadb-server; }
# the path of the socket is relative, because its length is limited
mariadb_sql() { (cd "$dir/mariadb/data" && command mariadb --no-defaults -uroot -S s.sock "$@"); }
mariadb_start() {
    local data=$dir/mariadb/data user
    user=$(id -un)
    if is_root; then user=mysql; fi
    if [ ! -e "$data/created" ]; then
        rm -rf "$data"
        mkdir "$data"
        if is_root; then chown mysql:mysql "$data"; fi
        mariadb-install-db --no-defaults --user="$user" --datadir="$data" --auth-root-authentication-method=normal \
            --skip-test-db >>"$dir/mariadb/log" 2>&1 || return 1
        touch "$data/created"
    fi
    launch mariadb /usr/sbin/mariadbd --no-defaults --user="$user" --datadir="$data" --port="$(port mariadb)" \
        --bind-address=127.0.0.1 --socket=s.sock --innodb-flush-log-at-trx-commit=2 --skip-log-bin
    await mariadb mariadb_sql -e 'SELECT 1' || return 1
    # MariaDB identifies a client on this machine as `localhost` or `127.0.0.1`
    mariadb_sql -e "
        CREATE DATABASE IF NOT EXISTS shop; CREATE DATABASE IF NOT EXISTS market; CREATE DATABASE IF NOT EXISTS wallet;
        CREATE USER IF NOT EXISTS app@127.0.0.1 IDENTIFIED BY '$password';
        CREATE USER IF NOT EXISTS app@localhost IDENTIFIED BY '$password';
        GRANT ALL ON *.* TO app@127.0.0.1, app@localhost"
}
mariadb_urls() { echo "export MARIADB_URL=mysql://app:$password@127.0.0.1:$(port mariadb)/shop"; }

redis_install() { install /usr/bin/redis-server redis-server; }
redis_start() {
    mkdir -p "$dir/redis/data"
    launch redis redis-server --port "$(port redis)" --bind 127.0.0.1 --save "" --appendonly no --dir "$dir/redis/data"
    await redis redis_answers
}
# `redis-cli` also exits with 0 after an error such as LOADING
redis_answers() { redis-cli -p "$(port redis)" ping 2>/dev/null | grep -qx PONG; }
redis_urls() { echo "export REDIS_URL=redis://127.0.0.1:$(port redis)"; }

kafka_install() {
    install /usr/bin/java openjdk-17-jre-headless
    if [ -e "$kafka_jars" ]; then return; fi
    install /usr/bin/mvn maven
    local fresh=$kafka_jars.$$
    mvn -q -f "$root/scripts/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$fresh"
    # another call may have downloaded the jars in the meantime
    mv -T "$fresh" "$kafka_jars" 2>/dev/null || rm -rf "$fresh"
}
# Starts one broker that is also the controller. Because of the short sessions, a killed broker or consumer recovers within
# seconds. There is no SLF4J binding, so the broker writes no log.
kafka_start() {
    local data=$dir/kafka/data listen control
    listen=$(port kafka)
    control=$(free_port)
    mkdir -p "$data"
    cat >"$data/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$control
listeners=PLAINTEXT://127.0.0.1:$listen,CONTROLLER://127.0.0.1:$control
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
group.min.session.timeout.ms=500
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=200
PROPERTIES
    if [ ! -e "$data/log/meta.properties" ]; then
        java -cp "$kafka_jars/*" kafka.tools.StorageTool format \
            -t "$(head -c 16 /dev/urandom | basenc --base64url | tr -d =)" -c "$data/server.properties" \
            >>"$dir/kafka/log" 2>&1 || return 1
    fi
    launch kafka java -Xmx96m -XX:MaxDirectMemorySize=32m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -cp "$kafka_jars/*" kafka.Kafka "$data/server.properties"
    await kafka "$root/scripts/kafka/ready.py" "$listen"
}
kafka_urls() { echo "export KAFKA_BROKERS=127.0.0.1:$(port kafka)"; }

# A server that ends immediately is started again, because another process may have taken its port, or a killed server may
# not have released its files yet.
start_server() { # SERVER
    local server=$1
    if is_running "$server"; then return; fi
    mkdir -p "$dir/$server"
    for _ in 1 2 3; do
        choose_port "$server"
        if "${server}_start"; then return; fi
        stop_servers "$server"
        sleep 0.5
    done
    tail -n 30 "$dir/$server/log" >&2
    fail "$server does not start: the end of its log is above"
}

# asks servers to stop and waits for them; kills a server that takes more than 20 s
stop_servers() { # SERVER…
    local server running=() signal round
    for server in "$@"; do
        if is_running "$server"; then
            running+=("$server")
            # on SIGTERM, PostgreSQL would wait for its clients to disconnect
            if [ "$server" = postgres ]; then signal=INT; else signal=TERM; fi
            kill -"$signal" "$(cat "$dir/$server/pid")" 2>/dev/null || true
        fi
    done
    for round in $(seq 250); do
        local left=()
        for server in "${running[@]}"; do
            if is_running "$server"; then left+=("$server"); fi
        done
        running=("${left[@]}")
        if [ ${#running[@]} = 0 ]; then break; fi
        if [ "$round" = 200 ]; then
            for server in "${running[@]}"; do kill -9 "$(cat "$dir/$server/pid")" 2>/dev/null || true; done
        fi
        sleep 0.1
    done
    [ ${#running[@]} = 0 ] || fail "still running: ${running[*]}"
    for server in "$@"; do rm -f "$dir/$server/pid" "$dir/$server/started"; done
}

start() { # SERVER…
    local server
    launched=()
    for server in "$@"; do
        [[ " ${all[*]} " = *" $server "* ]] || fail "$server is unknown; the servers are ${all[*]}"
    done
    for server in "$@"; do "${server}_install"; done
    mkdir -p "$dir"
    # the servers run as other users, which must be able to enter the folder
    chmod 755 "$dir"
    touch "$dir/.real-parts"
    # after a failure, this stops all servers that this call has started
    trap 'stop_servers "${launched[@]}"' EXIT
    trap 'exit 130' INT TERM
    for server in "$@"; do start_server "$server"; done
    trap - EXIT INT TERM
}

urls() {
    local server
    local none=1
    for server in "${all[@]}"; do
        if is_running "$server"; then
            "${server}_urls"
            none=
        fi
    done
    [ -z "$none" ] || fail "no server runs in $dir: use start"
}

stop() {
    [ -e "$dir" ] || return 0
    [ -e "$dir/.real-parts" ] || fail "$dir is not a folder of this script"
    stop_servers "${all[@]}"
    rm -rf "$dir"
}

# runs a command while no other call uses the same folder
locked() {
    exec 9>"$dir.lock"
    flock 9
    "$@"
}

command=${1:-}
shift || true
case $command in
    start)
        if [ $# = 0 ]; then set -- "${all[@]}"; fi
        locked start "$@"
        ;;
    urls) urls ;;
    stop) locked stop ;;
    *)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2
        exit 2
        ;;
esac
