#!/bin/sh
# Are there known vulnerabilities in what dvdcli and its tests need? It asks a database of advisories, and what that
# does not answer for counts as not looked at: pip-audit alone would call it clean.
set -eu
cd "$(dirname "$0")/.."
python="$PWD/.venv/bin/python3"
said=$(mktemp)
trap 'rm -f "$said"' EXIT
"$python" -m pip install -q --group audit
if "$python" -I -m pip_audit --strict --progress-spinner off --require-hashes --disable-pip -r tools/ci.lock \
    "$@" >"$said" 2>&1; then
    cat "$said"
elif grep -q '^Found [0-9]* known' "$said"; then
    cat "$said"
    exit 1
else
    tail -n 1 "$said" >&2
    echo "audit: the database of advisories did not answer, so nothing is known: try where it can be reached" >&2
    exit 2
fi
