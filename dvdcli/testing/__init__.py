"""The provider conformance suite: what every storage system's provider must do, as tests that pytest runs.

    from dvdcli.testing import ProviderConformance, Subject

    class TestMine(ProviderConformance):
        @pytest.fixture
        def subject(self, tmp_path):
            return Subject(MyProvider, {"path": str(tmp_path)})

Subject says what else can be told of a provider. Each test has a mount state and a configuration of its own: the suite
sets DVDCLI_STATE_DIR and DVDCLI_CONFIG. Calls are killed in forked processes: what the provider's module keeps open
between calls, such as a connection, is dropped there with os.register_at_fork, or Subject says `forks=False`.

Nothing but tests imports this package: it needs pytest.
"""

from __future__ import annotations

import pytest

for _module in ("calls", "deadlines", "kills", "mounts", "options", "stated", "volumes", "walk"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from dvdcli.testing.deadlines import Deadlines  # noqa: E402
from dvdcli.testing.kills import KilledCalls  # noqa: E402
from dvdcli.testing.mounts import Mounts  # noqa: E402
from dvdcli.testing.options import Options, Sizes  # noqa: E402
from dvdcli.testing.stated import ThroughTheState  # noqa: E402
from dvdcli.testing.subject import STRANGE_NAMES, Subject  # noqa: E402
from dvdcli.testing.volumes import Volumes  # noqa: E402

__all__ = ["STRANGE_NAMES", "ProviderConformance", "Subject"]


class ProviderConformance(Volumes, Options, Sizes, Mounts, Deadlines, KilledCalls, ThroughTheState):
    """All of the suite. A subclass gives the fixture `subject`, which returns a Subject of a storage system anew."""
