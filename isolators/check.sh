#!/bin/sh
# Compiles the isolator against the real headers of a Mesos release:
#
#   sh isolators/check.sh DIRECTORY     where Mesos is installed, a source tree, or a tree that has been built
#
# A source tree that was only checked out is made ready in a temporary directory: its messages are compiled with the
# protoc there is, its bundled Boost and picojson unpacked. Nothing is linked to libmesos, and nothing is run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=${1:-${MESOS_SOURCE:-}}
if [ -z "$source" ]; then
    echo "check-isolators: skipped, no Mesos headers at hand: make check-isolators MESOS_SOURCE=a source or install tree"
    exit 0
fi
if [ ! -d "$source" ]; then
    echo "check-isolators: MESOS_SOURCE=$source is no directory" >&2
    exit 1
fi
source=$(cd "$source" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

unpack() { # NAME: a bundled archive, wherever the release has it
    for archive in "$source"/3rdparty/"$1"-[0-9]*.tar.gz "$source"/3rdparty/libprocess/3rdparty/"$1"-[0-9]*.tar.gz; do
        if [ -f "$archive" ]; then
            tar -xzf "$archive" -C "$work"
            return
        fi
    done
}

# Makes what `make install` would have put into include/.
prepare() {
    mkdir "$work/mesos" "$work/mesos/include"
    cp -R "$source/include/." "$work/mesos/include"
    for own in "$source"/3rdparty/libprocess/include "$source"/3rdparty/stout/include \
        "$source"/3rdparty/libprocess/3rdparty/stout/include; do
        if [ -d "$own" ]; then cp -R "$own/." "$work/mesos/include"; fi
    done
    version=$(sed -n 's/^AC_INIT(\[mesos\], \[\(.*\)\])$/\1/p' "$source/configure.ac")
    printf '#define MESOS_VERSION "%s"\n' "$version" >"$work/mesos/include/mesos/version.hpp"
    find "$source/include" -name '*.proto' | while read -r proto; do
        protoc -I"$source/include" --cpp_out="$work/mesos/include" "$proto" 2>"$work/protoc.log" ||
            echo "check-isolators: protoc does not take $proto (only a fault where it is needed)"
    done
    unpack boost
    unpack picojson
    for bundled in "$work"/boost-[0-9]* "$work"/picojson-[0-9]*; do
        if [ -d "$bundled" ]; then cp -R "$bundled/." "$work/mesos/include"; fi
    done
    root=$work/mesos
}

root=$source
if [ -f "$source/configure.ac" ] && ! [ -f "$source/build/include/mesos/version.hpp" ] &&
    ! [ -f "$source/include/mesos/version.hpp" ]; then
    prepare
fi
cmake -S "$here" -B "$work/build" -DMESOS_ROOT="$root" ${MESOS_BUILD:+-DMESOS_BUILD="$MESOS_BUILD"} >"$work/configure.log" 2>&1 || {
    cat "$work/configure.log" >&2
    exit 1
}
what=$(sed -n 's/^-- \(Mesos .*\)/\1/p' "$work/configure.log")
if cmake --build "$work/build" >"$work/build.log" 2>&1; then
    echo "check-isolators: $what compiles against $source"
    exit 0
fi
grep -E '(error|Error):? ' "$work/build.log" | head -n 20 >&2
if grep -q "^$here/.*error:" "$work/build.log"; then
    echo "check-isolators: $what does not compile against $source" >&2
else
    echo "check-isolators: $what: this compiler does not take the headers of that release; no error is in our sources" >&2
fi
exit 1
