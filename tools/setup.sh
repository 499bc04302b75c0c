#!/bin/sh
# Makes .venv and installs dvdcli into it (install), or what its tests need (test-tools).
# On a fresh Debian as root it installs the one package that is missing for that.
# With CI=true everything is what tools/ci.lock says, by hash, dvdcli's own build too.
set -eu
cd "$(dirname "$0")/.."
venv=.venv
python=${PYTHON:-python3}

say() { echo "setup: $*" >&2; }

apt() {
    say "installing $* with apt"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    say "$python is older than 3.11: set PYTHON to a newer one"
    exit 1
}

if ! "$venv/bin/python3" -c 'import pip' 2>/dev/null; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if can_apt; then
            apt python3-venv
        else
            say "$python has no venv module: apt install python3-venv, as root, then try again"
            exit 1
        fi
    fi
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
case $1 in
install)
    mark=installed
    if [ "${CI:-}" = true ]; then
        "$venv/bin/python3" -m pip install -q --require-hashes -r tools/ci.lock
        "$venv/bin/python3" -m pip install -q --force-reinstall --no-deps --no-build-isolation .
    else
        "$venv/bin/python3" -m pip install -q --force-reinstall --no-deps .
        "$venv/bin/python3" -m pip install -q .
    fi
    ;;
test-tools)
    mark=test-tools
    if [ "${CI:-}" = true ]; then
        "$venv/bin/python3" -m pip install -q --require-hashes -r tools/ci.lock
    else
        "$venv/bin/python3" -m pip install -q 'pip>=25.1'
        "$venv/bin/python3" -m pip install -q --group test
    fi
    # What is run, and the package that brings it.
    for needed in strace:strace g++:g++ cmake:cmake protoc:protobuf-compiler busybox:busybox-static \
        mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs sfdisk:fdisk mkfs.vfat:dosfstools mksquashfs:squashfs-tools \
        cryptsetup:cryptsetup-bin pvcreate:lvm2 mandoc:mandoc zsh:zsh fish:fish systemd-analyze:systemd \
        logrotate:logrotate; do
        command -v "${needed%:*}" >/dev/null || missing="${missing:-} ${needed#*:}"
    done
    [ -e /usr/include/google/protobuf/message.h ] || missing="${missing:-} libprotobuf-dev"
    if [ -n "${missing:-}" ] && can_apt; then
        # shellcheck disable=SC2086
        apt $missing
    elif [ -n "${missing:-}" ]; then
        say "the tests that need them will be skipped: apt install$missing, as root"
    fi
    ;;
esac
touch "$venv/$mark"
