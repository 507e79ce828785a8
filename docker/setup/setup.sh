#!/usr/bin/env bash
# Prepares Elasticsearch and Kibana: users, the API key for agents, the APM integration, the saved objects.
# Can run repeatedly: it sets the passwords of the users again, keeps an API key that works, and replaces the saved objects.
set -euo pipefail
secrets=${SECRETS_DIR:-/secrets}
objects=${OBJECTS_DIR:-/kibana}
elasticsearch=${ELASTICSEARCH_URL:?}
kibana=${KIBANA_URL:?}
public=${PUBLIC_KIBANA_URL:?}
# seconds that Kibana may take to start
timeout=${KIBANA_TIMEOUT:-600}

log() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }
secret() { cat "$secrets/$1"; }

# Sends a request as the user `elastic`, and prints the body of the answer. Fails unless the status is 2xx.
# The password is not on the command line, which other processes can read.
request() { # METHOD URL CURL_OPTION…
    local method=$1 url=$2 answer status
    shift 2
    answer=$(curl -sS -X "$method" -K <(printf 'user = "elastic:%s"\n' "$(secret elasticsearch/elastic)") \
        -H 'kbn-xsrf: true' -w '\n%{http_code}' "$@" "$url") || fail "$method $url: no answer"
    status=${answer##*$'\n'}
    answer=${answer%$'\n'*}
    [[ $status = 2?? ]] || fail "$method $url: status $status: $answer"
    printf '%s' "$answer"
}

# reads the JSON from standard input
send() { # METHOD URL
    request "$1" "$2" -H 'content-type: application/json' --data-binary @-
}

create_users() {
    printf '{"password":"%s"}' "$(secret kibana/kibana_system)" |
        send POST "$elasticsearch/_security/user/kibana_system/_password" >/dev/null
    # the privileges that the APM Server's documentation requires, and read access to the central configuration of agents
    send PUT "$elasticsearch/_security/role/apm_server" >/dev/null <<'ROLE'
{
  "cluster": ["monitor"],
  "indices": [
    {"names": ["traces-apm*", "logs-apm*", "metrics-apm*"], "privileges": ["auto_configure", "create_doc"]},
    {"names": [".apm-agent-configuration", ".apm-source-map"], "privileges": ["read"], "allow_restricted_indices": true}
  ]
}
ROLE
    printf '{"password":"%s","roles":["apm_server"]}' "$(secret apm-server/apm_server)" |
        send PUT "$elasticsearch/_security/user/apm_server" >/dev/null
    printf '{"password":"%s","roles":["viewer"],"full_name":"Support"}' "$(secret elasticsearch/support)" |
        send PUT "$elasticsearch/_security/user/support" >/dev/null
    log "the users kibana_system, apm_server and support exist"
}

key_works() {
    [ -s "$secrets/agent/api_key" ] || return 1
    curl -sf -o "$temporary/answer" -K <(printf 'header = "Authorization: ApiKey %s"\n' "$(secret agent/api_key)") \
        "$elasticsearch/_security/_authenticate"
}

create_api_key() {
    if key_works; then
        log "the API key for agents works"
        return
    fi
    local answer key
    answer=$(send POST "$elasticsearch/_security/api_key" <<'KEY'
{
  "name": "agents",
  "role_descriptors": {
    "agents": {
      "applications": [{"application": "apm", "privileges": ["event:write", "config_agent:read"], "resources": ["*"]}]
    }
  }
}
KEY
    )
    key=$(sed -n 's/.*"encoded" *: *"\([^"]*\)".*/\1/p' <<<"$answer")
    [ -n "$key" ] || fail "Elasticsearch created an API key without the field \"encoded\""
    (umask 077 && echo "$key" >"$secrets/agent/api_key.new")
    # the user of the marketplace's image
    chown "${AGENT_OWNER:-65532:65532}" "$secrets/agent/api_key.new"
    mv "$secrets/agent/api_key.new" "$secrets/agent/api_key"
    log "created the API key for agents"
}

await_kibana() {
    local end=$((SECONDS + timeout))
    until curl -sf "$kibana/api/status" 2>/dev/null | grep -q '"level":"available"'; do
        [ $SECONDS -lt $end ] || fail "$kibana is not available after $timeout s"
        sleep 2
    done
}

# The integration is optional: Elasticsearch has built-in index templates for APM, so data is stored without it.
install_integration() {
    if (echo '{}' | send POST "$kibana/api/fleet/epm/packages/apm" >/dev/null); then
        log "the APM integration is installed"
    else
        log "the APM integration is not installed: install it in Kibana, Integrations, Elastic APM"
    fi
}

import_objects() {
    local file answer
    for file in "$objects"/*.ndjson; do
        [ -e "$file" ] || fail "no *.ndjson in $objects"
        answer=$(request POST "$kibana/api/saved_objects/_import?overwrite=true" --form "file=@$file")
        # Kibana also answers a partial import with 200
        grep -q '"success":true' <<<"$answer" || fail "import of ${file##*/}: $answer"
        log "imported ${file##*/}"
    done
}

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
create_users
create_api_key
await_kibana
install_integration
import_objects
cat <<END_OF_SETUP

Dashboard:  $public/app/dashboards#/view/marketplace-overview
User:       support
Password:   docker compose -f docker/compose.yml exec elasticsearch cat /secrets/support
END_OF_SETUP
