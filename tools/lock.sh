#!/bin/sh
# Writes tools/ci.lock: what CI installs, each release by the hashes of its files; no index is named in it.
set -eu
cd "$(dirname "$0")/.."
python="$PWD/.venv/bin/python3"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip install -q --group lock
"$python" -I - > "$work/ci.in" <<'END'
import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)


def flat(group):
    for each in project["dependency-groups"][group]:
        if isinstance(each, str):
            yield each
        else:
            yield from flat(each["include-group"])


print("\n".join([*project["project"]["dependencies"], *flat("ci")]))
END
CUSTOM_COMPILE_COMMAND="make lock" "$python" -m piptools compile -q --upgrade --generate-hashes --allow-unsafe \
    --strip-extras --no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
    --output-file "$work/ci.lock" "$work/ci.in"
mv "$work/ci.lock" tools/ci.lock
chmod 644 tools/ci.lock
