#!/usr/bin/env bash
# Succeeds when Elasticsearch accepts the password of `elastic` and all primary shards are available.
set -euo pipefail
url=${ELASTICSEARCH_URL:-http://localhost:9200}
password=$(cat "${SECRETS_DIR:-/secrets}/elastic")
curl -sf -K <(printf 'user = "elastic:%s"\n' "$password") "$url/_cluster/health?wait_for_status=yellow&timeout=5s" |
    grep -q '"timed_out":false'
