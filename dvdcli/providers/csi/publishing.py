"""A CSI volume's way to its path on this host and back, in the specification's order, through every crash.

There: ControllerPublish, NodeStage, NodePublish. Back: NodeUnpublish, NodeUnstage, ControllerUnpublish, each only when
the mount table agrees that the one before is done. Where the driver has a step is for it to say. The intent of each is
in the handle before the call is sent; the handle has

    id               the driver's name and the volume's id, by which one record alone can have it
    volume_id        what the driver calls it; context: what goes with that, the volume_context
    step             what was last begun: attaching, staging, publishing; published; unstaging, detaching
    unheard          a step on the way there that never was answered: the driver can still be at work on it
    node             the id of this host, where it was attached; publish_context: what the driver said of that
    staging, path    where it is staged and published; namespace: in which mount namespace
    device, inside   what is mounted at the path: the device's number, the path within its file system
    staged           the same of where it is staged, where something is mounted there
    block            the device whose node is at the path, of block access
    leaving          the same of what is being undone, where the mount was killed before it noted that
    own              where the driver itself has it mounted besides, before anybody was told the path; boot: in which
    forgotten        what the driver said it had undone was mounted still: it is asked again, whatever was begun
"""

from __future__ import annotations

import os

from dvdcli import output
from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError, InUseError, StateError
from dvdcli.linux import files, mountinfo, mounting
from dvdcli.linux.blockdev import Device
from dvdcli.providers.csi import forgotten, usage
from dvdcli.providers.csi.access import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dvdcli.providers.base import Note
    from dvdcli.providers.csi.access import Access
    from dvdcli.providers.csi.catalogue import Catalogue
    from dvdcli.providers.csi.driver import Driver

ATTACHING, STAGING, PUBLISHING, PUBLISHED = "attaching", "staging", "publishing", "published"
UNPUBLISHING, UNSTAGING, DETACHING = "unpublishing", "unstaging", "detaching"
_THERE = (ATTACHING, STAGING, PUBLISHING)
_GONE = frozenset(("NOT_FOUND",))
_KEPT = frozenset(("id", "volume_id", "context", "unheard"))
_BOOT = "/proc/sys/kernel/random/boot_id"
_FRESH = 1.0  # seconds for which the look at every process's open files counts


class Publisher:
    """The steps of the volume *name* of *driver*, whose *state* is the handle."""

    def __init__(
        self, driver: Driver, catalogue: Catalogue, name: str, state: dict[str, Any], note: Note, guard: int
    ) -> None:
        self._driver = driver
        self._catalogue = catalogue
        self._name = name
        self._state = state
        self._note = note
        self._deadline = driver.deadline
        self._guard = guard
        self._seen_unused = Deadline(0.0)
        self._has_directories = False
        self._what = f"volume {state['volume_id']}"

    # There

    def publish(self, access: Access) -> None:
        """Attach, stage and publish the volume for *access*; each of which may have been done. Raises DvdcliError."""
        if self._state.get("step") in (UNPUBLISHING, UNSTAGING, DETACHING):
            self._start_anew()  # what a killed call has begun to undo
        elif self._state.get("step") in _THERE:
            self._state.setdefault("unheard", self._state["step"])
        self._refuse_others()
        node = self._state.get("node")
        if node and self._driver.controls("PUBLISH_UNPUBLISH_VOLUME") and node != self._driver.node_info().node_id:
            self._start_anew()  # this host had another id: to that one it is attached still
        boot = (files.read(_BOOT) or b"").decode("ascii", "replace").strip()
        if self._state.get("boot", boot) != boot:
            self._state.pop("own", None)  # nothing of another boot is mounted
        self._state.update(namespace=mountinfo.namespace(), boot=boot)
        common = {"volume_id": self._state["volume_id"], "volume_context": self._state["context"]}
        if self._driver.controls("PUBLISH_UNPUBLISH_VOLUME"):
            self._attach(access, common)
        capability = access.fields()
        context = self._state.get("publish_context", {})
        if self._driver.serves("STAGE_UNSTAGE_VOLUME"):
            self._begin(STAGING, staging=self._catalogue.staging(self._name))
            with output.step(f"staging {self._what}", self._deadline):
                self._driver.node.call(
                    "NodeStageVolume", self._what, **common, publish_context=context, volume_capability=capability,
                    staging_target_path=self._state["staging"],
                )  # fmt: skip
        self._begin(PUBLISHING, path=self._catalogue.target(self._name))
        with output.step(f"publishing {self._what}", self._deadline):
            self._driver.node.call(
                "NodePublishVolume", self._what, **common, publish_context=context, volume_capability=capability,
                staging_target_path=self._state.get("staging", ""), target_path=self._state["path"],
                readonly=access.read_only,
            )  # fmt: skip
        self._prove(access)

    def _start_anew(self) -> None:
        """Undo what there is: the way there starts at its beginning then."""
        self.unpublish()
        for key in self._state.keys() - _KEPT:
            del self._state[key]

    def _attach(self, access: Access, common: dict[str, Any]) -> None:
        read_only = access.read_only and self._driver.controls("PUBLISH_READONLY")
        self._begin(ATTACHING, node=self._driver.node_info().node_id)
        with output.step(f"attaching {self._what}", self._deadline):
            answer = self._driver.controller.call(
                "ControllerPublishVolume", self._what, **common, node_id=self._state["node"],
                volume_capability=access.fields(), readonly=read_only,
            )  # fmt: skip
        self._state["publish_context"] = dict(answer.publish_context)

    def _begin(self, step: str, **known: str) -> None:
        """Make durable that *step* is begun, with what it needs to be undone; then the directories that it needs."""
        self._state.update(known, step=step)
        self._note(self._state)
        if not self._has_directories:
            self._catalogue.begin(self._name)
            self._has_directories = True

    def _begin_back(self, step: str) -> None:
        """Note that *step* of the way back is begun, if the disk has room: letting go needs none.

        What is not noted is done again by the next call, where that is what it was.
        """
        self._state["step"] = step
        try:
            self._note(self._state)
        except (StateError, OSError) as error:
            output.debug(f"{self._what}: {step} is not on record: {error}")

    def _refuse_others(self) -> None:
        """Raise DvdcliError where something is mounted at the volume's path that no call of ours can have put there.

        What a call of ours put there, of which nothing is on record any more, can be in use already.
        """
        path = self._catalogue.target(self._name)
        there = mountinfo.at(path, mountinfo.read()) if not self._state.get("path") else None
        if there is not None and not self._catalogue.has_begun(self._name):
            raise DvdcliError(f"{there.source or there.device} is mounted at {path}", "unmount it by hand")
        if there is not None:
            self._state["own"] = []

    def _prove(self, access: Access) -> None:
        """Note what is at the path, and where else the driver has it; raise DvdcliError where nothing is."""
        path, block = self._state["path"], access.kind == BLOCK
        found = usage.proof(path, block, self._state["namespace"])
        if not found:
            what = "no block device is" if block else "nothing is mounted"
            raise DvdcliError(
                f"the driver {self._driver.name} says that {self._what} is published, and {what} at {path}",
                f"a driver in a container needs {os.path.dirname(path)} with mount propagation: see dvdcli check",
            )
        if access.read_only and not block:
            mounting.make_read_only(path, self._deadline, self._guard)  # there are drivers that do not hear of that
        staging = self._state.get("staging")
        staged = usage.proof(staging, False, self._state["namespace"]) if staging else {}
        self._state.update(found, step=PUBLISHED, staged=staged)
        self._state.pop("unheard", None)
        self._own(path)

    def _own(self, path: str) -> list[str]:
        """Return where the driver has the volume besides: wherever it is mounted before anybody was told the *path*."""
        if "own" not in self._state:
            self._state["own"] = sorted({user.path for user in usage.copies(path, self._servers(), ())} - {path})
        return [*self._state["own"], self._state.get("staging", "")]

    # Back

    def unpublish(self) -> bool:
        """Unpublish, unstage and detach the volume, as far as it was; return as Provider.unmount.

        That a step back was answered does not prove the end of an unheard one on the way there: by the specification's
        "Concurrency" a driver should take two calls for a volume gracefully and may answer ABORTED, but need not.
        """
        state = self._state
        if state.get("step") in _THERE and not state.get("unheard"):
            state["unheard"] = state["step"]
        if state.get("path"):
            self._unpublish(state["path"])
        if state.get("staging"):
            self._unstage(state["staging"])
        if state.get("node"):
            self._detach(state["node"])
        self._catalogue.end(self._name)
        return not state.get("unheard")

    def _is_due(self, step: str, place: str) -> bool:
        """Return whether *step* is to be done: it is past when a later one was begun, and nothing is mounted there.

        What may still be under way is undone once more, whatever was begun.
        """
        past = {UNPUBLISHING: (UNSTAGING, DETACHING), UNSTAGING: (DETACHING,)}[step]
        if self._state.get("step") not in past or self._state.get("unheard") or self._state.get("forgotten"):
            return True
        return self._is_mounted(place)

    def _is_mounted(self, place: str) -> bool:
        return mountinfo.at(place, mountinfo.read_in(self._namespace())) is not None

    def _remember(self, place: str) -> None:
        """Note what is mounted at *place*, where no finished mount has: its device, too, is to be free in the end."""
        if not {"device", "block", "leaving"} & self._state.keys():
            self._state["leaving"] = usage.proof(place, usage.block_at(place) is not None, self._namespace())

    def _unpublish(self, path: str) -> None:
        if not self._is_due(UNPUBLISHING, path):
            return
        if self._is_mounted(path) or usage.block_at(path) is not None:
            usage.await_unused(path, self._servers(), self._own(path), self._deadline)
            self._seen_unused = Deadline(_FRESH)
            self._remember(path)
        if forgotten.layers(path, self._namespace()) > 1:  # there are drivers that delete what they find under one
            self._clear(path, self._state, 1)
        self._begin_back(UNPUBLISHING)
        with output.step(f"unpublishing {self._what}", self._deadline):
            answer = self._driver.node.call(
                "NodeUnpublishVolume", self._what, _GONE, volume_id=self._state["volume_id"], target_path=path
            )
        said = f"{self._what} is unpublished" if answer is not None else f"there is no {self._what}"
        if not usage.is_gone(path, self._namespace(), self._deadline):
            self._clear(path, self._state, 0)
            self._state["forgotten"] = True
            usage.check_gone(path, self._namespace(), said)
        device = usage.block_at(path)
        if device is not None:
            what = f"the node of {device} is at {path} still, though the driver says that {said}"
            raise DvdcliError(what, "see its log")

    def _unstage(self, staging: str) -> None:
        if not self._is_due(UNSTAGING, staging):
            return
        if self._is_mounted(staging):
            own = (*self._state.get("own", ()), self._state.get("path", ""))
            # Who had it open was looked for a moment ago, there too, and root alone can have opened it there since.
            usage.await_unused(staging, self._servers(), own, self._deadline, bool(self._seen_unused.left()))
            self._remember(staging)
        self._begin_back(UNSTAGING)
        with output.step(f"unstaging {self._what}", self._deadline):
            answer = self._driver.node.call(
                "NodeUnstageVolume", self._what, _GONE, volume_id=self._state["volume_id"], staging_target_path=staging
            )
        said = f"{self._what} is unstaged" if answer is not None else f"there is no {self._what}"
        if not usage.is_gone(staging, self._namespace(), self._deadline):
            self._clear(staging, self._state.get("staged", {}), 0)
            self._state["forgotten"] = True
            usage.check_gone(staging, self._namespace(), said)

    def _clear(self, path: str, noted: dict[str, Any], keep: int) -> None:
        """Unmount what the driver has forgotten at *path*, but for the *keep* lowest mounts. Raises DvdcliError."""
        if self._namespace() == mountinfo.namespace():
            forgotten.unmount(path, noted, keep, self._deadline, self._guard)
        if forgotten.layers(path, self._namespace()) > max(keep, 1):
            raise DvdcliError(f"mounts are on top of each other at {path}", "unmount the upper ones by hand")

    def _detach(self, node: str) -> None:
        device = self._device()
        if device is not None:
            with output.step(f"waiting until {device} is free", self._deadline):
                mounting.await_free(device, self._deadline)
        self._begin_back(DETACHING)
        with output.step(f"detaching {self._what}", self._deadline):
            answer = self._driver.controller.call(
                "ControllerUnpublishVolume", self._what, _GONE, volume_id=self._state["volume_id"], node_id=node
            )
        if answer is None and node in (self._driver.nodes_of(self._state["volume_id"]) or ()):
            raise InUseError(
                f"the driver {self._driver.name} knows no {self._what} to detach, and lists it as attached to {node}",
                "see its log, and its storage system",
            )

    def _device(self) -> Device | None:
        """Return the device that only this volume can have been mounted from, where it is there still; else None."""
        there = self._state if {"device", "block"} & self._state.keys() else self._state.get("leaving", {})
        noted = there.get("block") or there.get("device") or {}
        if (there.get("inside") != "/" and "block" not in there) or "sequence" not in noted:
            return None  # it is a part of a file system that others have parts of, or has no device
        try:
            device = Device(str(noted["path"]))
        except DvdcliError:
            return None
        return device if device.is_that_of(noted) else None

    def _namespace(self) -> str:
        return str(self._state.get("namespace", ""))

    def _servers(self) -> tuple[int, ...]:
        pid = self._driver.server()
        return (pid,) if pid else ()
