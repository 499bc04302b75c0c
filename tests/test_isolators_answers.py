"""What the isolators make of what dvdcli says where old parsers are too lenient; what the library shows."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.agents import ALIAS, NAME, NEEDS_COMPILER, Agent, built
from tests.isolators import variables
from tests.test_isolators import NEWEST, RELEASES

pytestmark = NEEDS_COMPILER
ONE = variables(NAME="v", DRIVER="plug")


def test_the_reason_is_the_last_line_and_the_others_are_in_the_log(shared, home, stand_in):
    program = stand_in("echo a warning >&2; echo >&2; printf 'the\\treason\\n' >&2; exit 5")
    with Agent(shared, home, NEWEST, dvdcli=program) as agent:
        assert agent.prepare("c1", ONE).reason() == "the reason"
        assert "a warning" in agent.log()


def test_the_reason_after_a_flood(shared, home, stand_in):
    program = stand_in("head -c 100000000 /dev/zero | tr '\\0' e >&2; echo >&2; echo the reason >&2; exit 5")
    with Agent(shared, home, NEWEST, dvdcli=program) as agent:
        assert agent.prepare("c1", ONE).reason() == "the reason"


def test_a_warning_of_a_call_that_succeeds_is_in_the_log(shared, home, stand_in):
    with Agent(shared, home, NEWEST, dvdcli=stand_in("echo DVDCLI is ignored >&2; echo '{\"protocol\": 1}'")) as agent:
        assert agent.prepare("c1", ONE).value() in (None, {})
        assert "DVDCLI is ignored" in agent.log()


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("said", [
    '{"protocol": 1} and more', '{"protocol": 1}{"protocol": 1}', '{"protocol": 1, "lunch": {}}', '[{"protocol": 1}]',
    '{"protocol": 1, "launch": ' + "[" * 100_000 + "]" * 100_000 + "}",
])  # fmt: skip
def test_answers_that_are_none(shared, home, stand_in, release, said):
    with Agent(shared, home, release, dvdcli=stand_in(f"cat >/dev/null; cat <<'END'\n{said}\nEND")) as agent:
        assert "dvdcli" in agent.prepare("c1", ONE).reason()


@pytest.mark.parametrize("release", ["0.23.1", NEWEST])
def test_a_number_beyond_its_field(shared, home, stand_in, release):
    launch = {"clone_namespaces": [4294967296]}
    if release == "0.23.1":
        launch = {"uris": [], "shell": True, "value": "x", "arguments": [7]}
    text = json.dumps({"protocol": 1, "launch": launch})
    with Agent(shared, home, release, dvdcli=stand_in(f"cat >/dev/null; echo '{text}'")) as agent:
        assert "cannot be" in agent.prepare("c1", ONE).reason()


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm")
def test_only_the_two_names_are_seen_outside(shared):
    library = built(shared, NEWEST) / "module" / f"libdvdcli_isolator-{NEWEST}.so"
    shown = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    assert sorted(line.split()[-1] for line in shown.splitlines()) == sorted([NAME, ALIAS])
