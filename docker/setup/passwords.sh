#!/usr/bin/env bash
# Writes the passwords of all services to folders in /secrets. Existing passwords are kept.
# Each folder is the volume of one service. If a folder is not mounted, no password is written to it.
set -euo pipefail
secrets=${SECRETS_DIR:-/secrets}
umask 077

# the users of the images
elastic=1000:1000
root=0:0
marketplace=65532:65532

# prints 40 letters and digits, which need no escaping in a URL or in YAML
generate() { head -c 30 /dev/urandom | base64 | tr '+/' 'xy'; }

# reads the text from standard input
write() { # FILE OWNER
    local file=$secrets/$1
    # the rename is atomic: a reader never sees a part of a password, and an interruption leaves no empty file
    cat >"$file.new"
    chmod 600 "$file.new"
    chown "$2" "$file.new"
    mv "$file.new" "$file"
}

password() { # FILE OWNER
    if [ -d "$secrets/${1%/*}" ] && [ ! -s "$secrets/$1" ]; then generate | write "$1" "$2"; fi
}

password elasticsearch/elastic "$elastic"
password elasticsearch/support "$elastic"
password kibana/kibana_system "$elastic"
password kibana/encryption_key "$elastic"
password apm-server/apm_server "$elastic"
password postgres/password "$root"

for folder in "$secrets"/*/; do chmod 755 "$folder"; done
if [ -d "$secrets/postgres" ]; then
    server=postgres://marketplace:$(cat "$secrets/postgres/password")@postgres:5432
    echo "$server/market" | write agent/database_url "$marketplace"
    echo "$server/wallet" | write agent/wallet_database_url "$marketplace"
fi
