#!/usr/bin/env bash
# Holds the marketplace against the reference: sends the reference's requests to a marketplace that reports to the APM
# Server's own decoder, and prints what the reference's documents contain and ours do not.
#
#   tests/apm-server/reference.sh [FOLDER]     FOLDER keeps docs.ndjson and the logs; a temporary one otherwise
#
# APM_SPEC_DIR is the folder with the reference. The script needs Go, Python, curl and PostgreSQL's server programs,
# because the reference used PostgreSQL. It starts its own database on a socket, unless DATABASE_URL names one. The
# database must be empty, so that ids begin at 1.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
spec=${APM_SPEC_DIR:?must be the folder with the reference}
reference=$spec/reference-node-documents.ndjson

work=${1:-$(mktemp -d)}
mkdir -p "$work"
pids=()
clean_up() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    if [ -n "${postgres:-}" ]; then as_postgres "$bin/pg_ctl" -D "$postgres/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$postgres"; fi
    if [ -z "${1:-}" ]; then rm -rf "$work"; fi
}
trap 'clean_up "${1:-}"' EXIT
fail() { echo "reference: $*" >&2; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
await() { # URL LOG
    for _ in $(seq 300); do
        if curl -s -o "$work/probe" "$1"; then return 0; fi
        kill -0 "${pids[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    cat "$2" >&2
    fail "nothing answers at $1"
}
# PostgreSQL does not run as root.
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

if [ -z "${DATABASE_URL:-}" ]; then
    bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
    [ -n "$bin" ] || bin=$(dirname "$(command -v postgres || echo /none/postgres)")
    [ -x "$bin/initdb" ] || fail "PostgreSQL's server programs are missing: apt-get install postgresql"
    postgres=$(mktemp -d /tmp/reference-pg.XXXXXX)
    if [ "$(id -u)" = 0 ]; then chown postgres "$postgres"; fi
    as_postgres "$bin/initdb" -D "$postgres/data" -U market -A trust -E UTF8 >"$work/postgres.log" 2>&1
    pg_port=$(free_port)
    as_postgres "$bin/pg_ctl" -D "$postgres/data" -w -l "$postgres/log" \
        -o "-p $pg_port -k $postgres -c listen_addresses=127.0.0.1 -c fsync=off" start >>"$work/postgres.log" 2>&1 \
        || { cat "$work/postgres.log" >&2; fail "PostgreSQL does not start"; }
    DATABASE_URL="postgres://market@127.0.0.1:$pg_port/postgres"
fi

(cd "$here" && go build -o apm-server .)
(cd "$root" && cargo build -q -p marketplace --features postgres,mysql,kafka)
target=$(cd "$root" && cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')

apm=127.0.0.1:$(free_port)
"$here/apm-server" serve -addr "$apm" -out "$work/docs.ndjson" >"$work/apm-server.log" 2>&1 &
pids+=($!)
await "http://$apm/" "$work/apm-server.log"

api=127.0.0.1:$(free_port)
env -u RUST_LOG MARKETPLACE_ADDR="$api" DATABASE_URL="$DATABASE_URL" ELASTIC_APM_SERVER_URL="http://$apm" \
    ELASTIC_APM_ENVIRONMENT=reference "$target/debug/marketplace" >"$work/marketplace.log" 2>&1 &
market=$!
pids+=("$market")
await "http://$api/" "$work/marketplace.log"

"$spec/reference-requests.sh" "http://$api"
kill "$market" # which delivers what waits
wait "$market" || fail "the marketplace did not stop well: $(tail -n 3 "$work/marketplace.log")"

"$here/compare.py" "$reference" "$work/docs.ndjson" || fail "the reference's documents hold more than ours"
"$here/complete.py" "$work/docs.ndjson" || fail "not all is as it should be"
if grep -q refused: "$work/apm-server.log"; then cat "$work/apm-server.log" >&2; fail "the server refused events"; fi
echo "reference: nothing is missing, nothing was refused, $(wc -l <"$work/docs.ndjson") documents"
