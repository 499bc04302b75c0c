#!/bin/sh
# All the tests, in parallel, with the line coverage of dvdcli/; pytest's summary names what was skipped, and why.
set -eu
cd "$(dirname "$0")/.."
python="$PWD/.venv/bin/python3"
rm -f .coverage .coverage.* .covered
DVDCLI_TEST_COVERAGE="$PWD" "$python" -m coverage run --parallel-mode -m pytest -q -n "$(nproc)" --durations=40 "$@"
"$python" tools/gather.py .
"$python" -m coverage combine -q
# Where mounts cannot be made, what makes them is not covered.
under=0
if [ "$(id -u)" = 0 ] && grep -q '^[^ ]* [^ ]* [^ ]* [^ ]* / ' /proc/self/mountinfo; then under=95; fi
"$python" -m coverage report --fail-under="${COVERAGE:-$under}"
[ "$(id -u)" = 0 ] || echo "Not run, because this user is not root: the tests with real mounts (marked root above)."
