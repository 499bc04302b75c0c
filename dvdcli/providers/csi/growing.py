"""Making the volumes of a CSI driver larger: the controller its storage, the node its file system, where it has to."""

from __future__ import annotations

from dvdcli import output
from dvdcli.errors import DvdcliError, InUseError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.providers.csi.access import Access
    from dvdcli.providers.csi.catalogue import Catalogue, Entry
    from dvdcli.providers.csi.driver import Driver


class Grower:
    """The volumes of *driver* in *catalogue*."""

    def __init__(self, driver: Driver, catalogue: Catalogue) -> None:
        self._driver = driver
        self._catalogue = catalogue

    def grow(self, entry: Entry, size: int, access: Access, mounted: bool) -> None:
        """Make the volume of *entry* at least *size* bytes large; its file system now where it is *mounted* here.

        Else that is noted, and done at the next mount. Raises UsageError, InUseError, DvdcliError.
        """
        if size < entry.size:
            raise UsageError(f"the volume {entry.name!r} has {entry.size} bytes", "a volume is not made smaller")
        if size > entry.size:
            self._enlarge(entry, size, access, mounted)
        if entry.expand and mounted:
            self.fill(entry, access)
        elif entry.expand:
            output.tell(f"the file system of {entry.name} grows when it is mounted")

    def _enlarge(self, entry: Entry, size: int, access: Access, mounted: bool) -> None:
        on_node = self._driver.serves("EXPAND_VOLUME")
        if self._driver.controls("EXPAND_VOLUME"):
            how = self._driver.services()
            if mounted and "OFFLINE" in how and "ONLINE" not in how:
                raise InUseError(f"the volume {entry.name!r} grows only while it is not mounted", "unmount it first")
            with output.step(f"growing volume {entry.id}", self._driver.deadline):
                answer = self._driver.controller.call(
                    "ControllerExpandVolume", f"volume {entry.id}", volume_id=entry.id,
                    capacity_range={"required_bytes": size}, volume_capability=access.fields(),
                )  # fmt: skip
            entry.size = answer.capacity_bytes or size
            entry.expand = entry.size if answer.node_expansion_required and on_node else 0
        elif on_node:
            entry.size = entry.expand = size
        else:
            raise DvdcliError(f"the driver {self._driver.name} cannot resize volumes", "resize it where it was made")
        if "capacity_range" in entry.request:
            entry.request["capacity_range"] = {"required_bytes": size}
        self._catalogue.save(entry)

    def fill(self, entry: Entry, access: Access) -> None:
        """Let the file system of the published volume of *entry* have the size that is noted."""
        staging = self._catalogue.staging(entry.name) if self._driver.serves("STAGE_UNSTAGE_VOLUME") else ""
        with output.step(f"growing the file system of {entry.name}", self._driver.deadline):
            self._driver.node.call(
                "NodeExpandVolume", f"volume {entry.id}", volume_id=entry.id, staging_target_path=staging,
                volume_path=self._catalogue.target(entry.name), capacity_range={"required_bytes": entry.expand},
                volume_capability=access.fields(),
            )  # fmt: skip
        entry.expand = 0
        self._catalogue.save(entry)
