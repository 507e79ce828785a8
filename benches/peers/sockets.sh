#!/usr/bin/env bash
# Peers over real sockets, with the server away and with the server there: memory and losses, a line of JSON for each.
#
#   ./sockets.sh [REQUESTS]
#
# PEERS="bare tower-apm-headers"   only these (default: bare and tower-apm)
set -euo pipefail
cd "$(dirname "$0")"

target=${CARGO_TARGET_DIR:-target}
export CARGO_TARGET_DIR=$target
cargo build --release --quiet
binary=$target/release/peers

coproc SINK { exec "$binary" sink; }
sink_pid=$SINK_PID
trap 'kill "$sink_pid" 2>/dev/null || true' EXIT
read -r address <&"${SINK[0]}"
for sink in away "$address"; do
    for peer in ${PEERS:-bare tower-apm}; do
        "$binary" sockets "$peer" "$sink" "${1:-200000}"
    done
done
