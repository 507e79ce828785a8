#!/usr/bin/env bash
# Builds the marketplace's image with buildah from Debian, without Docker and without an image registry. Needs root.
#
#   scripts/image.sh bases   creates stand-ins for the base images, from Debian's packages and this machine's Rust
#   scripts/image.sh build   creates missing stand-ins, and builds docker/Dockerfile with them
#   scripts/image.sh test    builds the image, runs it, and checks its size, its user, its answers and its exit status
#   scripts/image.sh clean   removes all images
#
# The stand-ins have the names of the real images, so that the same Dockerfile is built. The test does not cover pulling the
# real base images, the network of containers, and the health check, which buildah does not run.
#
# IMAGE_DIR is the folder of the images (default: target/image, about 2.5 GB). DOCKERFILE and IMAGE_CONTEXT replace
# docker/Dockerfile and the repository when this script itself is tested.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dir=${IMAGE_DIR:-$root/target/image}
dockerfile=${DOCKERFILE:-$root/docker/Dockerfile}
context=${IMAGE_CONTEXT:-$root}
image=tower-apm/marketplace:local
largest=$((40 * 1024 * 1024))

slim=docker.io/library/debian:bookworm-slim
rust=docker.io/library/rust:1-slim-bookworm
distroless=gcr.io/distroless/cc-debian12:nonroot

fail() { echo "image: $*" >&2; exit 1; }
log() { echo "image: $*"; }
b() { STORAGE_OPTS='' buildah --storage-driver=overlay --root "$dir/root" --runroot "$dir/runroot" "$@"; }
exists() { b images -q "$1" >/dev/null 2>&1; }

install() { # PROGRAM PACKAGE
    if command -v "$1" >/dev/null; then return; fi
    apt-get update -qq >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
}

# removes the current container, also after a failure
container=
remove_container() {
    if [ -n "$container" ]; then b rm "$container" >/dev/null 2>&1 || true; fi
    container=
}
trap remove_container EXIT

slim_image() {
    if exists "$slim"; then return; fi
    log "$slim"
    if [ ! -e "$dir/slim/.complete" ]; then
        rm -rf "$dir/slim"
        debootstrap --variant=minbase --include=ca-certificates bookworm "$dir/slim" >"$dir/debootstrap.log" 2>&1 ||
            { tail -n 20 "$dir/debootstrap.log" >&2; fail "debootstrap failed"; }
        rm -rf "$dir"/slim/var/cache/apt/archives/*.deb "$dir"/slim/var/lib/apt/lists/*
        touch "$dir/slim/.complete"
    fi
    container=$(b from scratch)
    b add -q "$container" "$dir/slim" / >/dev/null
    b config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd bash "$container"
    commit "$slim"
}

rust_image() {
    if exists "$rust"; then return; fi
    log "$rust"
    local mount program
    container=$(b from --pull=never "$slim")
    b run --isolation=chroot "$container" -- sh -c 'apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null &&
        rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb' >"$dir/rust.log" 2>&1 ||
        { tail -n 20 "$dir/rust.log" >&2; fail "apt-get failed in $rust"; }
    mount=$(b mount "$container")
    mkdir -p "$mount/usr/local/rustup" "$mount/usr/local/cargo/bin"
    tar -C "$(rustc --print sysroot)" --exclude=./share/doc --exclude=./lib/rustlib/src -c . | tar -x -C "$mount/usr/local/rustup"
    for program in cargo rustc; do ln -s "../../rustup/bin/$program" "$mount/usr/local/cargo/bin/$program"; done
    b umount "$container" >/dev/null
    b config --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        --env CARGO_HOME=/usr/local/cargo "$container"
    commit "$rust"
}

# Contains the C libraries of the slim image, certificates and users, but no shell and no package manager.
distroless_image() {
    if exists "$distroless"; then return; fi
    log "$distroless"
    local from to file libraries
    libraries=lib/$(uname -m)-linux-gnu
    container=$(b from --pull=never "$slim")
    from=$(b mount "$container")
    to=$dir/distroless
    rm -rf "$to"
    mkdir -p "$to/etc/ssl/certs" "$to/$libraries" "$to/tmp" "$to/home/nonroot" "$to/usr/local/bin"
    chmod 1777 "$to/tmp"
    chown 65532:65532 "$to/home/nonroot"
    for file in ld-linux-*.so.* libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libresolv.so.2 libgcc_s.so.1 \
        libnss_dns.so.2 libnss_files.so.2; do
        # shellcheck disable=SC2086 # the loader's name depends on the machine
        cp -L "$from/$libraries"/$file "$to/$libraries/"
    done
    # the path at which programs look for the loader
    case $(uname -m) in
        x86_64) mkdir "$to/lib64" && ln -s "../$libraries/ld-linux-x86-64.so.2" "$to/lib64/" ;;
        aarch64) ln -s "$(uname -m)-linux-gnu/ld-linux-aarch64.so.1" "$to/lib/" ;;
    esac
    cp -L "$from/etc/ssl/certs/ca-certificates.crt" "$to/etc/ssl/certs/"
    printf '%s\n' root:x:0:0:root:/root:/sbin/nologin nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin >"$to/etc/passwd"
    printf '%s\n' root:x:0: nonroot:x:65532: >"$to/etc/group"
    b umount "$container" >/dev/null
    remove_container
    container=$(b from scratch)
    # `buildah add` would make root the owner of every file
    tar -C "$to" -c . | tar -x -p -C "$(b mount "$container")"
    b umount "$container" >/dev/null
    b config --user 65532 --workingdir /home/nonroot --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
        --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    commit "$distroless"
}

commit() { # IMAGE
    b commit -q --rm "$container" "$1" >/dev/null
    container=
}

bases() {
    install buildah buildah
    install debootstrap debootstrap
    mkdir -p "$dir"
    slim_image
    rust_image
    distroless_image
}

build() {
    bases
    log "$image"
    # The build uses the crates of this machine, so Cargo downloads nothing.
    (cd "$root" && cargo fetch --locked --quiet)
    printf '[net]\noffline = true\n' >"$dir/cargo.toml"
    local registry=${CARGO_HOME:-$HOME/.cargo}/registry
    # Only the Docker format supports HEALTHCHECK.
    b build --isolation=chroot --format=docker --layers --pull=never --quiet \
        --file "$dockerfile" --ignorefile "$context/docker/Dockerfile.dockerignore" \
        --volume "$registry:/usr/local/cargo/registry:ro" --volume "$dir/cargo.toml:/usr/local/cargo/config.toml:ro" \
        --tag "$image" "$context" >"$dir/build.log" 2>&1 || { tail -n 50 "$dir/build.log" >&2; fail "the build failed"; }
}

# prints a part of the image's configuration, which is selected by a Go template
inspect() { b inspect --type image --format "$1" "$image"; }

check_configuration() {
    local size
    [ "$(inspect '{{.Docker.Config.User}}')" = 65532:65532 ] || fail "the image runs as $(inspect '{{.Docker.Config.User}}')"
    [ "$(inspect '{{.Docker.Config.StopSignal}}')" = SIGTERM ] || fail "the stop signal of the image is not SIGTERM"
    [[ $(inspect '{{.Docker.Config.Healthcheck.Test}}') = *' health]' ]] || fail "the image has no health check"
    container=$(b from --pull=never "$image")
    size=$(du -s -B1 --apparent-size "$(b mount "$container")" | cut -f1)
    [ "$size" -lt "$largest" ] || fail "the image has $size bytes, but at most $largest are allowed"
    log "$((size / 1024 / 1024)) MB, user 65532, stop signal SIGTERM, has a health check"
}

test_image() {
    build
    check_configuration
    local mount log=$dir/run.log port pid='' answer changed
    mount=$(b mount "$container")
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    touch "$dir/before"
    # `buildah run` ignores ENTRYPOINT
    b run --isolation=chroot --user 65532:65532 --env "MARKETPLACE_ADDR=127.0.0.1:$port" --env APM_DEVSERVER_ADDR=127.0.0.1:0 \
        "$container" -- /usr/local/bin/marketplace >"$log" 2>&1 &
    local run=$!
    for _ in $(seq 300); do
        pid=$(service_pid "$mount" || true)
        if [ -n "$pid" ] && answer=$(curl -s -o "$dir/answer" -w '%{http_code}' "http://127.0.0.1:$port/market/listings") &&
            [ "$answer" = 200 ]; then break; fi
        kill -0 "$run" 2>/dev/null || break
        sleep 0.1
    done
    if [ "${answer:-}" != 200 ]; then
        if [ -n "$pid" ]; then kill "$pid"; fi
        cat "$log" >&2
        fail "no answer"
    fi
    [ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" = 65532 ] || fail "the service does not run as user 65532"
    # The signal goes to the service. `buildah run` would kill the service instead.
    kill -TERM "$pid"
    local status=0
    wait "$run" || status=$?
    [ "$status" = 0 ] || { cat "$log" >&2; fail "the service ended with status $status"; }
    changed=$(find "$mount" -xdev -newer "$dir/before" -type f -not -path "$mount/etc/*" -not -path "$mount/run/*")
    [ -z "$changed" ] || fail "the service wrote to its root file system: $changed"
    log "answers, runs as user 65532, writes no file, ends with status 0 on SIGTERM"
}

# prints the id of the process that runs the program of the image
service_pid() { # MOUNT
    local process
    for process in /proc/[0-9]*; do
        if [ "$(stat -Lc %d:%i "$process/exe" 2>/dev/null)" = "$(stat -Lc %d:%i "$1/usr/local/bin/marketplace")" ]; then
            echo "${process#/proc/}"
            return
        fi
    done
    return 1
}

clean() {
    if [ ! -e "$dir" ]; then return; fi
    if command -v buildah >/dev/null; then
        # an interrupted build leaves containers that buildah cannot remove
        b rm --all >/dev/null 2>&1 || true
        b rmi --all --force >/dev/null 2>&1 || true
    fi
    rm -rf "$dir"
}

[ "$(id -u)" = 0 ] || fail "needs root, for buildah's chroot isolation"
case ${1:-} in
    bases) bases ;;
    build) build ;;
    test) test_image ;;
    clean) clean ;;
    *)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2
        exit 2
        ;;
esac
