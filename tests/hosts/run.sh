#!/usr/bin/env bash
# Builds and runs each host without and with the agent as a dependency. The output must be the same: Cargo unifies
# features, so a feature that the agent enables on a shared crate is enabled for the service too.
set -euo pipefail
cd "$(dirname "$0")"

export CARGO_INCREMENTAL=0
if [ -z "${CARGO_TARGET_DIR:-}" ]; then
    CARGO_TARGET_DIR=$(mktemp -d)
    export CARGO_TARGET_DIR
    trap 'rm -rf "$CARGO_TARGET_DIR"' EXIT
fi
unset RUST_LOG NO_COLOR

passed=0
failed=0

# what a host prints, without times, and how it ends
output() {
    local text status=0
    cargo build --quiet --package "$1" --features "$2"
    text=$("$CARGO_TARGET_DIR/debug/$1" 2>&1) || status=$?
    sed -E 's/[0-9-]{10}T[0-9:.]+Z//' <<<"$text"
    echo "ended with $status"
}

# a host, its features without the agent, and those with it
compare() {
    local without with
    without=$(output "$1" "$2")
    with=$(output "$1" "$3")
    if [ "$without" = "$with" ] && [ "${with##*$'\n'}" = "ended with 0" ]; then
        passed=$((passed + 1))
        echo "host $1 [$3] ... ok"
    else
        failed=$((failed + 1))
        echo "host $1 [$3] ... FAILED"
        printf 'without the agent:\n%s\nwith it:\n%s\n' "$without" "$with"
    fi
}

for host in tracing-logger tracing-fmt json-values reqwest-plain tls-versions rustls-default axum-server-tls; do
    compare "$host" "" apm
done
for provider in ring aws-lc-rs; do
    compare tls "$provider" "apm-$provider"
    # the service's default is the agent's provider
    compare tls "$provider" "$provider,apm"
done

# programs that fork, stacks without full debug information, and panics that end the process: each checks itself
for program in "--bin stacks" "--bin forked" "--bin aborted" "--bin aborted --profile abort"; do
    # shellcheck disable=SC2086
    if text=$(cd process && cargo run --quiet $program 2>&1); then
        passed=$((passed + 1))
        echo "process $program ... ok"
    else
        failed=$((failed + 1))
        echo "process $program ... FAILED"
        echo "$text"
    fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
