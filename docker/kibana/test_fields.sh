#!/usr/bin/env bash
# Checks that each field in the saved objects and in the support guide exists in the documents of a real demo: the
# marketplace sends its events to the decoder of the APM Server, which writes the documents that Elasticsearch would receive.
#
# Needs Go, Rust, Python and curl. APM_SERVER_DECODER is the path of the decoder's program. If it is not set, the script builds the decoder.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
pids=()
clean_up() {
    kill "${pids[@]}" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap clean_up EXIT
fail() { echo "fields: $*" >&2; exit 1; }
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

decoder=${APM_SERVER_DECODER:-$work/apm-server}
[ -x "$decoder" ] || (cd tests/apm-server && go build -o "$decoder" .)
cargo build --quiet --package marketplace
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')

apm=127.0.0.1:$(free_port)
"$decoder" serve -addr "$apm" -out "$work/documents.ndjson" >"$work/apm-server.log" 2>&1 &
pids+=($!)
await "http://$apm/" "$work/apm-server.log"

# starts a marketplace whose agent has a queue of SIZE events
start() { # SIZE
    api=127.0.0.1:$(free_port)
    env -u RUST_LOG MARKETPLACE_ADDR="$api" ELASTIC_APM_SERVER_URL="http://$apm" ELASTIC_APM_METRICS_INTERVAL=2s \
        ELASTIC_APM_MAX_QUEUE_SIZE="$1" "$target/debug/marketplace" >"$work/marketplace.log" 2>&1 &
    pids+=($!)
    await "http://$api/" "$work/marketplace.log"
}
# stops the marketplace, which delivers the last events
stop() {
    kill "${pids[-1]}"
    wait "${pids[-1]}" || fail "the marketplace ended with an error: $(tail -n 3 "$work/marketplace.log")"
}

start 1024
"$target/debug/marketplace" demo "http://$api" --quick >"$work/demo.log" || { cat "$work/demo.log" >&2; fail "the demo failed"; }
stop

# a small queue overflows, so that the documents include a report of dropped events
start 8
seq 400 | xargs -P 32 -I {} curl -s -o /dev/null "http://$api/market/listings"
stop

docker/kibana/fields.py --documents "$work/documents.ndjson" docker/kibana/marketplace.ndjson docs/support.md
echo "fields: all of them exist in the $(wc -l <"$work/documents.ndjson") documents"
