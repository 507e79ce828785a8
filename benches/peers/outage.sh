#!/usr/bin/env bash
# The server is away for a while: memory, losses and the time to recover, a line of JSON for each peer.
#
#   ./outage.sh [SECONDS] [REQUESTS_PER_SECOND]      default: 60 1000
#
# PEERS="bare tower-apm-child"   only these (the default)
# PEERS_ENV=1                    tower-apm takes ELASTIC_APM_* from the environment, and compresses as by default
set -euo pipefail
cd "$(dirname "$0")"

target=${CARGO_TARGET_DIR:-target}
export CARGO_TARGET_DIR=$target
cargo build --release --quiet
for peer in ${PEERS:-bare tower-apm-child}; do
    "$target/release/peers" outage "$peer" "${1:-60}" "${2:-1000}"
done
