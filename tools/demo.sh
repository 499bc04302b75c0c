#!/bin/sh
# What dvdcli does, with a real volume, as whoever runs this: nothing outside a temporary directory is touched.
set -eu
cd "$(dirname "$0")/.."
DVDCLI_STATE_DIR=$(mktemp -d)/state
export DVDCLI_STATE_DIR
trap 'rm -rf "${DVDCLI_STATE_DIR%/state}"' EXIT
PATH="$PWD/.venv/bin:$PATH"

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

show dvdcli mount --volumedriver=local --volumename=demo
path=$(dvdcli path --volumedriver=local --volumename=demo)
printf '\n$ echo "hello from a volume" > %s/greeting\n' "$path"
echo "hello from a volume" > "$path/greeting"
show cat "$path/greeting"
show dvdcli list
show dvdcli unmount --volumedriver=local --volumename=demo
show dvdcli list
show dvdcli recover
show dvdcli mount --volumedriver=local --volumename=demo
show cat "$path/greeting"
show dvdcli unmount --volumedriver=local --volumename=demo
show dvdcli remove --volumedriver=local --volumename=demo
show dvdcli list --volumedriver=local
printf '\nThe volume kept its file across an unmount, and is gone after remove.\n'
