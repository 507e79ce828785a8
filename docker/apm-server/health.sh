#!/usr/bin/env bash
# Succeeds if the APM Server answers with 200: health.sh [PORT]. Uses only bash, because the image has no HTTP client.
set -euo pipefail
exec 3<>"/dev/tcp/127.0.0.1/${1:-8200}"
printf 'GET / HTTP/1.0\r\n\r\n' >&3
read -r status <&3
[[ $status = *' 200 '* ]]
