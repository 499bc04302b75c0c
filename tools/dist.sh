#!/bin/sh
# Builds what is released into dist/, and tries each: sdist, wheel, zipapp, .deb.
#
# What dvdcli needs is inside the zipapp and the .deb: Debian 12 has older releases than dvdcli is tested with. Of
# botocore's descriptions of AWS's services only those that dvdcli can ask are kept; all of them are 25 MB.
set -eu
cd "$(dirname "$0")/.."
python="$PWD/.venv/bin/python3"
version=$("$python" -I -c 'import dvdcli; print(dvdcli.__version__)')
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
services="ec2 sts sso sso-oidc signin"

say() { echo "dist: $*" >&2; }

# A CSI driver that is not there: what says so is grpc's part of dvdcli, or the line that names what to install.
printf '[drivers.c]\nprovider = "csi"\nendpoint = "/nonexistent.sock"\n' > "$work/dvdcli.toml"
export DVDCLI_CONFIG="$work/dvdcli.toml"
with_grpc="cannot be reached at /nonexistent.sock"
without_grpc="pip install 'dvdcli\[csi\]', or apt install python3-grpcio"
csi=$without_grpc

# A mount of `local` and its undoing, by the command that the arguments are.
try() {
    export DVDCLI_STATE_DIR="$work/state"
    "$@" version | grep -qx "SemVer: $version"
    path=$("$@" mount --volumedriver=local --volumename=tried)
    echo kept > "$path/file"
    "$@" unmount --volumedriver=local --volumename=tried
    [ "$("$@" mount --volumedriver=local --volumename=tried)" = "$path" ]
    [ "$(cat "$path/file")" = kept ]
    "$@" unmount --volumedriver=local --volumename=tried
    "$@" remove --volumedriver=local --volumename=tried
    "$@" recover
    "$@" get --volumedriver=ebs --volumename=vol-1 --timeout 1 >/dev/null 2>"$work/err" || true
    if grep -q bug "$work/err"; then cat "$work/err" >&2; exit 1; fi  # boto3 is there, whatever EC2 says
    if "$@" list --volumedriver=c >/dev/null 2>"$work/err"; then say "nobody listens for CSI there"; exit 1; fi
    grep -q "$csi" "$work/err" || { cat "$work/err" >&2; exit 1; }
    unset DVDCLI_STATE_DIR
    say "tried: $*"
}

rm -rf dist
"$python" -m pip install -q 'pip>=25.1'
"$python" -m pip install -q --group dist

# sdist, and the wheel out of the sdist
"$python" -m build --outdir dist . >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
wheel="$PWD/dist/dvdcli-$version-py3-none-any.whl"
[ -f "dist/dvdcli-$version.tar.gz" ]
"$python" -m venv "$work/clean"
"$work/clean/bin/python3" -m pip install -q "$wheel"
try "$work/clean/bin/dvdcli"
[ -f "$work/clean/share/man/man8/dvdcli.8" ]
"$work/clean/bin/python3" -m pip install -q "$wheel[csi]"
csi=$with_grpc
try "$work/clean/bin/dvdcli"

# What the zipapp and the .deb have inside
inside="$work/inside"
"$python" -m pip install -q --target "$inside" --only-binary=:all: --no-compile \
    --platform any --implementation py --abi none --python-version 3.11 "$wheel"
rm -rf "$inside/bin" "$inside/share"
[ -f "$inside/dvdcli/providers/csi/csi_pb2.py" ]
csi="$with_grpc\|$without_grpc"  # by what the distribution has
for data in "$inside/botocore/data" "$inside/boto3/data"; do
    for each in "$data"/*/; do
        name=$(basename "$each")
        case " $services " in
        *" $name "*) find "$each" -mindepth 1 -maxdepth 1 -type d | sort | head -n -1 | xargs rm -rf ;;  # the newest
        *) rm -rf "$each" ;;
        esac
    done
done

.venv/bin/shiv --site-packages "$inside" -e dvdcli.__main__:main --reproducible \
    -p '/usr/bin/env -S python3 -ISXutf8' -o "dist/dvdcli-$version.pyz" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
SHIV_ROOT="$work/shiv" try "dist/dvdcli-$version.pyz"

sh tools/deb.sh "$inside" "$version" "$work/deb" dist
deb="$PWD/dist/dvdcli_$version-1_all.deb"
if [ "$(id -u)" != 0 ] || [ ! -x /usr/bin/python3 ]; then
    say "not tried: the .deb, which needs root and /usr/bin/python3"
    exit 0
fi
# A scratch root with the packages of this one: what the .deb depends on is looked up there.
root="$work/root"
mkdir -p "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/triggers"
cp /var/lib/dpkg/status "$root/var/lib/dpkg/"
mkdir "$root/var/lib/dpkg/info" && cp /var/lib/dpkg/info/*.list "$root/var/lib/dpkg/info/"
in_root() {
    dpkg --root="$root" --force-script-chrootless --log="$work/dpkg.log" "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        exit 1
    }
}
in_root -i "$deb"
try "$root/usr/bin/dvdcli"
[ "$(stat -c %a "$root/var/lib/dvdcli" "$root/var/lib/dvdcli-mounts" "$root/etc/dvdcli" | tr '\n' ' ')" = "700 711 755 " ]
touch "$root/var/lib/dvdcli/record"
in_root -P dvdcli
[ ! -e "$root/usr/bin/dvdcli" ] && [ ! -e "$root/usr/lib/dvdcli" ] && [ -e "$root/var/lib/dvdcli/record" ]
if command -v lintian >/dev/null; then
    # What the packages inside bring along as they are, and no debhelper.
    quiet=package-contains-timestamped-gzip,unusual-interpreter,maintainer-script-calls-systemctl
    quiet=$quiet,initial-upload-closes-no-bugs
    lintian --allow-root --fail-on error,warning --suppress-tags "$quiet" "$deb"
fi
ls -lh dist >&2
