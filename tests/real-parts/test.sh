#!/usr/bin/env bash
# Tests scripts/real-parts.sh with the two servers that start fastest.
set -euo pipefail
cd "$(dirname "$0")"
parts=$PWD/../../scripts/real-parts.sh

temporary=$(mktemp -d)
chmod 755 "$temporary"
first=$temporary/first
second=$temporary/second
clean_up() {
    REAL_PARTS_DIR=$first "$parts" stop
    REAL_PARTS_DIR=$second "$parts" stop
    rm -rf "$temporary"
}
trap clean_up EXIT

fail() { echo "real-parts: $*" >&2; exit 1; }
passed=0
pass() { echo "ok: $*"; passed=$((passed + 1)); }
sql() { psql -X -qtA "$DATABASE_URL" -c "$1"; }
redis() { redis-cli -u "$REDIS_URL" "$@"; }
# a process that has ended can remain as a zombie until its parent waits for it
runs() { [ -e "/proc/$1/stat" ] && ! grep -q ') Z ' "/proc/$1/stat"; }

export REAL_PARTS_DIR=$first
if "$parts" urls 2>/dev/null; then fail "urls succeeds although no server runs"; fi
pass "urls fails if no server runs"

"$parts" start postgres redis
urls=$("$parts" urls)
eval "$urls"
[ "$(sql 'SELECT current_database()')" = market ] || fail "PostgreSQL does not answer"
[ "$(redis ping)" = PONG ] || fail "Redis does not answer"
pass "each server answers when start returns"

pids=$(cat "$first"/*/pid)
"$parts" start postgres redis
[ "$(cat "$first"/*/pid)" = "$pids" ] || fail "start replaced servers that ran"
pass "servers that run are kept"

redis set owner first >/dev/null
REAL_PARTS_DIR=$second "$parts" start redis
other=$(REAL_PARTS_DIR=$second "$parts" urls | sed 's/.*=//')
[ "$other" != "$REDIS_URL" ] || fail "the folders share a port"
[ -z "$(redis-cli -u "$other" get owner)" ] || fail "the folders share a server"
pass "servers of two folders run at the same time"

sql 'CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)'
for server in postgres redis; do kill -9 "$(cat "$first/$server/pid")"; done
"$parts" start postgres redis
[ "$("$parts" urls)" = "$urls" ] || fail "the URLs have changed after a kill"
[ "$(sql 'SELECT id FROM kept')" = 7 ] || fail "the data is lost after a kill"
[ "$(redis ping)" = PONG ] || fail "Redis does not answer after a kill"
pass "killed servers start again with their data and ports"

kill -9 "$(cat "$first/redis/pid")"
port=$(cat "$first/redis/port")
python3 -c 'import socket, sys, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
while True:
    try: s.bind(("127.0.0.1", int(sys.argv[1]))); break
    except OSError: time.sleep(0.05)
s.listen(); print("bound", flush=True); time.sleep(60)' "$port" >"$temporary/bound" &
occupant=$!
until grep -q bound "$temporary/bound"; do sleep 0.05; done
"$parts" start redis
kill "$occupant"
[ "$(cat "$first/redis/port")" != "$port" ] || fail "Redis started on a port that is not free"
eval "$("$parts" urls)"
[ "$(redis ping)" = PONG ] || fail "Redis does not answer on its new port"
pass "a server whose port was taken starts on another port"

# a process id that now belongs to another process
sleep 60 &
bystander=$!
kill -9 "$(cat "$first/redis/pid")"
echo "$bystander" >"$first/redis/pid"
pids="$(cat "$first/postgres/pid") $(cat "$second/redis/pid")"
children=$(pgrep -P "$(cat "$first/postgres/pid")")
"$parts" stop
REAL_PARTS_DIR=$second "$parts" stop
runs "$bystander" || fail "stop killed a process that it did not start"
kill "$bystander"
for pid in $pids $children; do if runs "$pid"; then fail "process $pid is left"; fi; done
if [ -e "$first" ] || [ -e "$second" ]; then fail "data is left"; fi
pass "stop ends exactly its own processes"

mkdir "$temporary/bin"
printf '#!/bin/sh\necho "no memory left"\nexit 1\n' >"$temporary/bin/redis-server"
chmod +x "$temporary/bin/redis-server"
if PATH=$temporary/bin:$PATH "$parts" start postgres redis 2>"$temporary/error"; then fail "a server that ends counts as started"; fi
grep -q "no memory left" "$temporary/error" || fail "the log of the server is not printed: $(cat "$temporary/error")"
if "$parts" urls 2>/dev/null; then fail "a server is left after a failed start"; fi
"$parts" stop
pass "a failed start prints the log and leaves no server"

"$parts" start redis &
starting=$!
"$parts" start redis
wait "$starting"
[ "$(pgrep -c -f "^redis-server.*:$(cat "$first/redis/port")")" = 1 ] || fail "two starts at once started two servers"
"$parts" stop
pass "two starts at once start one server"

if "$parts" start unknown 2>"$temporary/error"; then fail "an unknown server is accepted"; fi
grep -q 'postgres mariadb redis kafka' "$temporary/error" || fail "the message does not list the servers"
pass "an unknown server is refused"

mkdir "$first"
touch "$first/file"
if "$parts" stop 2>/dev/null; then fail "stop accepts a folder that it did not create"; fi
[ -e "$first/file" ] || fail "stop removed a folder that it did not create"
rm -r "$first"
pass "stop removes only folders of its own"

echo "$passed passed, 0 failed"
