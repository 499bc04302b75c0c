"""Shelves for the tests of the conformance suite: one whose volumes are disks, and what can be wrong with it.

Each mutant names the tests of the suite that have to find it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import uuid
from typing import ClassVar

from dvdcli import clock
from dvdcli.errors import DvdcliError, InUseError, NotFoundError, TryAgainError, UsageError
from dvdcli.names import encode
from dvdcli.providers.base import Info, Mounted, Provider, SizeOption
from dvdcli.testing import Subject
from tests.shelf import Shelf

LONGEST = 200
US, THEM = "host-1", "host-2"


class DiskShelf(Shelf):
    """A shelf that is asked over a wire, in pages, and lends each volume to one host: a handle, notes, an identity."""

    options: ClassVar = {**Shelf.options, "size": SizeOption("the size of a new volume")}
    aliases: ClassVar = {"capacity": "size"}
    sent: ClassVar[list[str]] = []
    silent = threading.Event()

    def create(self, name, options):
        self._send("create", name)
        size = self.option(options, "size") or 1 << 30
        if self._read("size", name) == "":
            self._write("size", name, str(size))
        if not os.path.isdir(self._home(name)):
            self._write("size", name, str(size))
            super().create(name, options)
        elif str(size) != self._read("size", name):
            raise UsageError(f"the volume {name!r} has {self._read('size', name)} bytes", "resize it")

    def remove(self, name):
        self._send("remove", name)
        if self._read("lease", name):
            raise InUseError(f"the volume {name!r} is lent to {self._read('lease', name)}", "unmount it first")
        super().remove(name)
        self._write("size", name, "")

    def get(self, name):
        self._send("get", name)
        return super().get(name)

    def list(self):
        found, page = [], self._page(0)
        while page:
            found += page
            page = self._page(len(found))
        return found

    def _page(self, start):
        self._send("list", "")
        return super().list()[start : start + 7]

    def mount(self, volume, options, handle, note):
        if self.get(volume.name) is None:
            raise NotFoundError(f"there is no volume {volume}")
        state = {**handle, "id": self._id(volume.name)}
        note(state)
        self._lend(volume.name)
        state["lease"] = US
        note(state)
        mounted = super().mount(volume, options, handle, note)
        return Mounted(mounted.path, state)

    def _lend(self, name):
        holder = self._read("lease", name)
        if holder not in ("", US):
            raise InUseError(f"the volume {name!r} is lent to {holder}", "unmount it there")
        self._send("lend", name)
        self._write("lease", name, US)

    def unmount(self, volume, handle, note):
        if not handle.get("id"):
            return True
        super().unmount(volume, handle, note)
        self._take_back(volume.name)
        return True

    def _take_back(self, name):
        if self._read("lease", name) == US:
            self._send("take back", name)
            self._write("lease", name, "")

    def here(self, name):
        if self._read("lease", name) != US:
            return None
        return Mounted(self.path(name), {"id": self._id(name)})

    def identity(self, handle):
        return str(handle.get("id", ""))

    def resize(self, name, options):
        self._send("resize", name)
        if not os.path.isdir(self._home(name)):
            raise NotFoundError(f"there is no volume {name!r}")
        size, now = self.option(options, "size"), int(self._read("size", name))
        if size < now:
            raise UsageError(f"the volume {name!r} has {now} bytes", "a volume is not made smaller")
        self._write("size", name, str(size))

    def _id(self, name):
        return f"disk-{encode(name)}"

    def _send(self, what, name):
        if len(name.encode()) > LONGEST:
            raise UsageError(f"the volume name has {len(name.encode())} bytes", f"at most {LONGEST} are possible")
        self.sent.append(what)
        while self.silent.is_set():
            if not self.deadline.left():
                raise TryAgainError("the shelf does not answer", "try again later")
            clock.sleep(0.01)

    def _file(self, what, name):
        return f"{self.pinned['path']}/.{what}-{encode(name)}"

    def _read(self, what, name):
        try:
            with open(self._file(what, name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def _write(self, what, name, text):
        os.makedirs(self.pinned["path"], exist_ok=True)
        path = self._file(what, name)
        if not text:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(f"{path}.new", path)


class DiskShelfSubject(Subject):
    """What DiskShelf and its mutants can do."""

    sizes = ("1", "2")
    longest = LONGEST
    slack = 0.5

    def __init__(self, root, kind=DiskShelf):
        super().__init__(kind, {"path": str(root / "shelf")})

    def requests(self):
        return len(self.kind.sent)

    @contextlib.contextmanager
    def elsewhere(self, name):
        provider = self.provider(clock.Deadline(60))
        provider._write("lease", name, THEM)
        try:
            yield THEM
        finally:
            provider._write("lease", name, "")

    @contextlib.contextmanager
    def silent(self):
        self.kind.silent.set()
        try:
            yield
        finally:
            self.kind.silent.clear()

    def leftovers(self):
        root = self.settings["path"]
        names = os.listdir(root) if os.path.isdir(root) else []
        tables = [name for name in names if os.path.exists(f"{root}/{name}/table")]
        leases = [name for name in names if name.startswith(".lease-") and not name.endswith(".new")]
        return leases + tables


# What can be wrong

MUTANTS: dict[type[Provider], tuple[str, ...]] = {}


def found_by(*tests):
    def register(kind):
        MUTANTS[kind] = tests
        return kind

    return register


@found_by("test_creating_a_volume_twice_is_fine")
class CreateTwiceIsAnError(DiskShelf):
    def create(self, name, options):
        if self.get(name) is not None:
            raise DvdcliError(f"there is a volume {name!r}")
        super().create(name, options)


@found_by("test_creating_a_volume_twice_is_fine")
class CreateTwiceEmptiesIt(DiskShelf):
    def create(self, name, options):
        super().create(name, options)
        for where in ("shelf", "table"):
            if os.path.isdir(f"{self._home(name)}/{where}"):
                shutil.rmtree(f"{self._home(name)}/{where}")
                os.mkdir(f"{self._home(name)}/{where}")


@found_by("test_creating_a_volume_again_with_another_size_is_an_error_that_changes_nothing")
class AnotherSizeIsTaken(DiskShelf):
    def create(self, name, options):
        if self.get(name) is None:
            super().create(name, options)


@found_by("test_creating_a_volume_again_with_another_size_is_an_error_that_changes_nothing")
class AnotherSizeIsAnErrorThatResizes(DiskShelf):
    def create(self, name, options):
        try:
            super().create(name, options)
        except UsageError:
            self._write("size", name, str(self.option(options, "size")))
            raise


@found_by("test_removing_a_volume_that_is_missing_is_fine")
class RemovingWhatIsMissingIsAnError(DiskShelf):
    def remove(self, name):
        if self.get(name) is None:
            raise NotFoundError(f"there is no volume {name!r}")
        super().remove(name)


@found_by("test_a_volume_made_after_one_of_its_name_was_removed_is_empty")
class RemovedDataComeBack(DiskShelf):
    def remove(self, name):
        if self.get(name) is not None:
            os.rename(self._home(name), self._home(name).replace("/shelf/", "/shelf/.kept"))

    def create(self, name, options):
        kept = self._home(name).replace("/shelf/", "/shelf/.kept")
        if os.path.isdir(kept):
            os.rename(kept, self._home(name))
        super().create(name, options)


@found_by("test_a_list_is_whole_and_in_order_however_long")
class TheFirstPageIsAll(DiskShelf):
    def list(self):
        return self._page(0)


@found_by("test_a_list_is_whole_and_in_order_however_long")
class PagesOverlap(DiskShelf):
    def _page(self, start):
        return super()._page(start)[:7] + (super()._page(start)[-1:] if start == 7 else [])


@found_by("test_a_volume_that_is_missing_is_none", "test_mounting_what_is_missing_is_an_error_that_makes_nothing")
class EveryNameIsThere(DiskShelf):
    def get(self, name):
        return Info(name, "")


@found_by("test_a_volume_that_is_missing_is_none")
class AskingForWhatIsMissingIsAnError(DiskShelf):
    def get(self, name):
        found = super().get(name)
        if found is None:
            raise NotFoundError(f"there is no volume {name!r}")
        return found


@found_by("test_names_with_strange_characters_do_not_collide")
class NamesCollideByCase(DiskShelf):
    def _home(self, name):
        return super()._home(name.lower())


@found_by("test_names_with_strange_characters_do_not_collide")
class NamesCollideBySlash(DiskShelf):
    def _home(self, name):
        return super()._home(name.replace("/", "%2F"))


@found_by("test_the_longest_name_works")
class NamesAreCut(DiskShelf):
    def _home(self, name):
        return super()._home(name[: LONGEST - 1])


@found_by("test_a_longer_name_is_refused_before_anything_is_sent")
class ALongNameIsSentFirst(DiskShelf):
    def _send(self, what, name):
        self.sent.append(what)
        super()._send(what, name)


@found_by("test_a_longer_name_is_refused_before_anything_is_sent")
class ALongNameIsTaken(DiskShelf):
    def _send(self, what, name):
        super()._send(what, name[:LONGEST])


@found_by(
    "test_an_unknown_option_is_an_error_that_names_the_known_ones",
    "test_an_unknown_option_leaves_no_volume_and_no_record",
)
class AnUnknownOptionIsTaken(DiskShelf):
    def check(self, options):
        pass

    def canonical(self, options):
        return super().canonical({key: value for key, value in options.items() if key != "noSuchOption"})


@found_by("test_an_unknown_option_is_an_error_that_names_the_known_ones")
class AnUnknownOptionIsRefusedWithoutHelp(DiskShelf):
    def check(self, options):
        try:
            super().check(options)
        except UsageError as error:
            raise UsageError(error.message) from None


@found_by("test_an_option_is_found_in_any_case")
class OptionsHaveOneCase(DiskShelf):
    def canonical(self, options):
        if set(options) - set(self.options):
            raise UsageError(f"no such option; the known ones: {', '.join(self.options)}")
        return dict(options)


@found_by("test_a_value_that_is_not_of_its_options_kind_is_refused_by_name")
class ValuesAreNotLookedAt(DiskShelf):
    def check(self, options):
        self.canonical(options)


@found_by("test_a_volume_is_made_larger_and_never_smaller", "test_resize_is_for_volumes_with_a_size")
class SmallerIsTaken(DiskShelf):
    def resize(self, name, options):
        super().resize(name, options) if self.get(name) is None else None
        self._write("size", name, str(self.option(options, "size")))


@found_by("test_a_volume_is_made_larger_and_never_smaller")
class TheSameSizeIsAnError(DiskShelf):
    def resize(self, name, options):
        if str(self.option(options, "size")) == self._read("size", name):
            raise UsageError("it has that size")
        super().resize(name, options)


@found_by("test_a_volume_is_made_larger_and_never_smaller")
class ResizeDoesNothing(DiskShelf):
    def resize(self, name, options):
        if self.get(name) is None or self.option(options, "size") < int(self._read("size", name)):
            super().resize(name, options)


@found_by("test_the_path_of_a_mount_is_an_absolute_existing_directory")
class ThePathIsRelative(DiskShelf):
    def mount(self, volume, options, handle, note):
        mounted = super().mount(volume, options, handle, note)
        return Mounted(os.path.relpath(mounted.path), mounted.handle)

    def path(self, name):
        path = super().path(name)
        return os.path.relpath(path) if path else ""


@found_by("test_mounting_twice_gives_the_same_path")
class AnotherPathTheSecondTime(DiskShelf):
    def mount(self, volume, options, handle, note):
        again = super().path(volume.name) != ""
        mounted = super().mount(volume, options, handle, note)
        if again:
            os.rename(mounted.path, f"{mounted.path}-2")
            return Mounted(f"{mounted.path}-2", mounted.handle)
        return mounted


@found_by("test_mounting_twice_gives_the_same_path")
class MountingTwiceIsAnError(DiskShelf):
    def mount(self, volume, options, handle, note):
        if self.path(volume.name):
            raise InUseError("it is mounted")
        return super().mount(volume, options, handle, note)


@found_by("test_mounting_what_is_mounted_and_not_on_record_gives_the_same_path")
class WhatIsNotOnRecordIsStrange(DiskShelf):
    def mount(self, volume, options, handle, note):
        if self.path(volume.name) and not handle:
            raise DvdcliError("something is mounted there", "unmount it by hand")
        return super().mount(volume, options, handle, note)


@found_by("test_unmounting_twice_is_fine")
class UnmountingTwiceIsAnError(DiskShelf):
    def unmount(self, volume, handle, note):
        if not self.path(volume.name):
            raise DvdcliError("it is not mounted")
        return super().unmount(volume, handle, note)


@found_by("test_unmounting_what_was_never_mounted_is_fine")
class UnmountingNothingIsAnError(DiskShelf):
    def unmount(self, volume, handle, note):
        handle["id"]
        return super().unmount(volume, handle, note)


@found_by("test_unmounting_twice_is_fine")
class UnmountIsNeverCertain(DiskShelf):
    def unmount(self, volume, handle, note):
        super().unmount(volume, handle, note)
        return False


@found_by("test_a_mount_is_known_while_it_lasts_and_no_longer")
class UnmountDoesNothing(DiskShelf):
    def unmount(self, volume, handle, note):
        return True


@found_by("test_mounting_what_is_missing_is_an_error_that_makes_nothing")
class MountMakesWhatIsMissing(DiskShelf):
    def mount(self, volume, options, handle, note):
        self.create(volume.name, options)
        return super().mount(volume, options, handle, note)


@found_by("test_a_mount_is_known_while_it_lasts_and_no_longer")
class MountedForEver(DiskShelf):
    def mounted_at(self, volume, handle):
        return f"{self._home(volume.name)}/table"


@found_by("test_the_path_of_a_mount_is_an_absolute_existing_directory")
class NeverMounted(DiskShelf):
    def mounted_at(self, volume, handle):
        return ""


@found_by("test_data_outlives_an_unmount")
class AnUnmountEmptiesIt(DiskShelf):
    def unmount(self, volume, handle, note):
        done = super().unmount(volume, handle, note)
        shelf = f"{self._home(volume.name)}/shelf"
        if os.path.isdir(shelf):
            shutil.rmtree(shelf)
            os.mkdir(shelf)
        return done


@found_by("test_two_volumes_are_two_places")
class OnePlaceForAll(DiskShelf):
    def mount(self, volume, options, handle, note):
        mounted = super().mount(volume, options, handle, note)
        return Mounted(os.path.dirname(os.path.dirname(mounted.path)), mounted.handle)


@found_by("test_what_is_mounted_and_not_on_record_is_found_here_and_undone")
class NothingIsHere(DiskShelf):
    def here(self, name):
        return None


@found_by("test_what_is_mounted_and_not_on_record_is_found_here_and_undone")
class HereIsNotEnoughToUndoIt(DiskShelf):
    def here(self, name):
        here = super().here(name)
        return Mounted(here.path, {}) if here else None


@found_by("test_pinned_settings_and_the_handle_are_enough_to_undo_a_mount")
class TheObjectIsNeededToUndoIt(DiskShelf):
    def mount(self, volume, options, handle, note):
        self.lent = True
        return super().mount(volume, options, handle, note)

    def unmount(self, volume, handle, note):
        return super().unmount(volume, handle, note) if hasattr(self, "lent") else True


@found_by("test_pinned_settings_and_the_handle_are_enough_to_undo_a_mount")
class TheHandleIsNotEnoughToUndoIt(DiskShelf):
    def mount(self, volume, options, handle, note):
        return Mounted(super().mount(volume, options, handle, note).path, {})


@found_by(
    "test_pinned_settings_and_the_handle_are_enough_to_undo_a_mount",
    "test_a_mount_is_undone_after_its_configuration_has_gone",
)
class NotEverySettingIsPinned(DiskShelf):
    def __init__(self, driver, settings, deadline, patience):
        super().__init__(driver, settings, deadline, patience)
        self.where = settings.get("path", "/nonexistent")
        self.pinned = {}

    def _home(self, name):
        return f"{self.where}/{encode(name)}"

    def _aside(self, name):
        return f"{self.where}/.{encode(name)}"

    def _file(self, what, name):
        return f"{self.where}/.{what}-{encode(name)}"

    def _write(self, what, name, text):
        self.pinned = {"path": self.where}
        try:
            super()._write(what, name, text)
        finally:
            self.pinned = {}


@found_by("test_a_volume_in_use_elsewhere_is_refused_by_the_name_of_who_has_it")
class WhoHasItIsNotNamed(DiskShelf):
    def _lend(self, name):
        try:
            super()._lend(name)
        except InUseError:
            raise InUseError(f"the volume {name!r} is in use") from None


@found_by("test_a_volume_in_use_elsewhere_is_refused_by_the_name_of_who_has_it")
class TakenFromWhoHasIt(DiskShelf):
    def _lend(self, name):
        self._write("lease", name, US)


@found_by("test_a_volumes_identity_is_one_and_its_own")
class AnotherIdentityEachTime(DiskShelf):
    def _id(self, name):
        return uuid.uuid4().hex


@found_by("test_a_volumes_identity_is_one_and_its_own")
class OneIdentityForAll(DiskShelf):
    def _id(self, name):
        return "disk"


@found_by("test_volumes_that_are_mounted_at_once_are_all_there")
class OneVolumeAtATime(DiskShelf):
    name: ClassVar[str] = ""

    def mount(self, volume, options, handle, note):
        OneVolumeAtATime.name = volume.name
        time.sleep(0.05)  # the others come now, and what they leave is mistaken for ours
        return super().mount(type(volume)(volume.driver, OneVolumeAtATime.name), options, handle, note)


@found_by(
    "test_a_call_whose_time_is_over_ends_at_once",
    "test_a_storage_system_that_does_not_answer_is_given_up_in_time",
)
class TheDeadlineIsForgotten(DiskShelf):
    def _send(self, what, name):
        super()._send(what, name) if not self.silent.is_set() else None
        while self.silent.is_set() or (what == "lend" and not self.deadline.left()):
            time.sleep(0.01)  # without an end, which is what is wrong with it
            if not self.silent.is_set() and what != "lend":
                return


@found_by("test_a_storage_system_that_does_not_answer_is_given_up_in_time")
class TooLateIsNotTryAgain(DiskShelf):
    def _send(self, what, name):
        try:
            super()._send(what, name)
        except TryAgainError as error:
            raise DvdcliError(error.message) from None


@found_by(
    "test_a_mount_killed_at_any_note_is_undone_by_an_unmount",
    "test_a_mount_killed_before_any_line_is_finished_or_undone",
)
class LentBeforeItIsNoted(DiskShelf):
    def mount(self, volume, options, handle, note):
        if self.get(volume.name) is not None:
            self._lend(volume.name)
        return super().mount(volume, options, handle, note)


@found_by("test_a_mount_killed_before_any_line_is_finished_or_undone")
class ClearedUpOnlyByExceptions(DiskShelf):
    """What an exception sees is not what a kill leaves."""

    def mount(self, volume, options, handle, note):
        if self.get(volume.name) is None:
            raise NotFoundError(f"there is no volume {volume}")
        self._lend(volume.name)
        try:
            return super().mount(volume, options, handle, note)
        except BaseException:
            self._take_back(volume.name)
            raise


@found_by("test_an_unmount_killed_before_any_line_is_finished_or_undone")
class WhatIsOffTheTableIsTakenForReturned(DiskShelf):
    def unmount(self, volume, handle, note):
        return super().unmount(volume, handle, note) if self.path(volume.name) else True


@found_by(
    "test_a_create_killed_before_any_line_is_finished_or_undone",
    "test_a_mount_through_the_state_killed_before_any_line_is_finished_or_undone",
)
class MadeInTwoSteps(DiskShelf):
    def create(self, name, options):
        self._write("size", name, self._read("size", name) or str(self.option(options, "size")))
        if str(self.option(options, "size")) != self._read("size", name):
            raise UsageError("it has another size")
        if self.get(name) is None:
            os.makedirs(self._home(name))
            os.mkdir(f"{self._home(name)}/shelf")
            with open(f"{self._home(name)}/name", "w", encoding="utf-8") as file:
                file.write(name)


@found_by("test_a_remove_killed_before_any_line_is_finished_or_undone")
class RemovedInTwoSteps(DiskShelf):
    def remove(self, name):
        if self.get(name) is not None:
            os.unlink(f"{self._home(name)}/name")
            shutil.rmtree(self._home(name))
            self._write("size", name, "")


@found_by("test_a_resize_killed_before_any_line_is_finished_by_the_next")
class ResizedInTwoSteps(DiskShelf):
    def resize(self, name, options):
        if self._read("busy", name):
            raise InUseError("it is being resized")
        self._write("busy", name, "yes")
        super().resize(name, options)
        self._write("busy", name, "")


@found_by("test_mounting_twice_gives_the_same_path")
class TheHandleIsWrittenInto(DiskShelf):
    def mount(self, volume, options, handle, note):
        handle["times"] = handle.get("times", 0) + 1
        return super().mount(volume, options, handle, note)


@found_by("test_the_path_of_a_mount_is_an_absolute_existing_directory")
class TheHandleIsNoJson(DiskShelf):
    def mount(self, volume, options, handle, note):
        mounted = super().mount(volume, options, handle, note)
        return Mounted(mounted.path, {**mounted.handle, "hosts": (US,)})


@found_by("test_a_mount_is_undone_after_the_state_was_lost")
class HereForgetsTheDisk(DiskShelf):
    def here(self, name):
        return Mounted(self.path(name), {}) if self.path(name) else None
