"""README.md is true: its exit codes, its commands, its example."""

from __future__ import annotations

import re
from pathlib import Path

from dvdcli import cli
from dvdcli.errors import Exit
from tests import examples

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_every_exit_code_is_documented():
    table = README.partition("## Exit codes")[2].partition("\n\n##")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert documented == {value for key, value in vars(Exit).items() if key.isupper()}


def test_every_command_is_documented():
    table = README.partition("## Commands")[2].partition("\n\nEvery")[0]
    assert set(re.findall(r"`(\w+)`(?=[,| ])", table.replace("`--explicitcreate`", ""))) >= set(cli.dvdcli.commands)


def test_every_error_that_is_explained_can_happen():
    table = README.partition("## Troubleshooting")[2].partition("\n## ")[0]
    words = [word for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for word in re.findall(r"`(.+?)`", row)]
    assert len(words) > 15
    source = "".join(path.read_text() for path in Path(cli.__file__).parent.rglob("*.py"))
    assert [word for word in words if word not in source] == []


def test_the_examples_run_as_they_stand(home):
    found = examples.of_markdown(README)
    assert len(found) == README.count("\n\n    $ "), "one that the runner does not see"
    assert found
    examples.run(home, found)


def test_the_changelog_has_the_groups_of_its_format():
    text = (Path(__file__).parents[1] / "CHANGELOG.md").read_text()
    for release in text.split("\n## ")[1:]:
        groups = re.findall(r"^### (.*)$", release, re.MULTILINE)
        known = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
        assert groups == [group for group in known if group in groups], "each once, in this order"
