"""What the status codes of a CSI driver mean, call by call. Source: the specification's tables of errors.

Each code, of one call or of any, has a class of errors, what it says, and what to do. Of `{what}` it says; the
driver's own words stand behind it.
"""

from __future__ import annotations

from dvdcli.errors import DvdcliError, InUseError, NotFoundError, TryAgainError, UsageError, one_line

_LONGEST = 1000  # characters of a driver's words that are worth reading
_LOOK = "see the driver's log"

_Row = tuple[type[DvdcliError], str, str]

# Of any call
_ANY: dict[str, _Row] = {
    "CANCELLED": (TryAgainError, "the call for {what} was cancelled", "try again"),
    "UNKNOWN": (DvdcliError, "the driver failed with {what}", _LOOK),
    "INVALID_ARGUMENT": (UsageError, "the driver does not take what it is told of {what}", "mend options and settings"),
    "DEADLINE_EXCEEDED": (TryAgainError, "the driver is not done with {what} in time", "try again: it goes on"),
    "NOT_FOUND": (NotFoundError, "the driver does not know {what}", "see that it is there, by its id"),
    "ALREADY_EXISTS": (DvdcliError, "{what} is there, with other options", "use those, or undo it first"),
    "PERMISSION_DENIED": (DvdcliError, "the driver may not do that with {what}", "give those secrets the right to"),
    "RESOURCE_EXHAUSTED": (DvdcliError, "there is no room for {what}", "free some, or take another place"),
    "FAILED_PRECONDITION": (DvdcliError, "the driver cannot do that with {what} as things are", _LOOK),
    "ABORTED": (TryAgainError, "another operation on {what} is under way", "try again when it is done"),
    "OUT_OF_RANGE": (UsageError, "the driver takes no such size for {what}", "another size"),
    "UNIMPLEMENTED": (DvdcliError, "the driver has no such call, for {what}", "see what the driver can do"),
    "INTERNAL": (DvdcliError, "the driver failed with {what}", _LOOK),
    "UNAVAILABLE": (TryAgainError, "the driver cannot be reached, or its storage cannot, for {what}", "try again"),
    "DATA_LOSS": (DvdcliError, "the driver has lost data of {what}", "see the storage system before anything else"),
    "UNAUTHENTICATED": (DvdcliError, "the driver does not take the secrets for {what}", "mend the secrets_file"),
}  # fmt: skip

_NOT_HEALTHY = (TryAgainError, "the driver is not healthy", _LOOK)
_CAPABILITY = (
    UsageError, "{what} cannot be had in that way", "another accessMode, fsType or access, or mount options it knows",
)  # fmt: skip
_IN_ANOTHER_WAY = (
    InUseError, "{what} is in use, or cannot be had in that way", "unmount it there, or see accessMode and fsType",
)  # fmt: skip
_NO_VOLUME = (NotFoundError, "the driver knows no {what}", "see whether it was deleted elsewhere")
_HERE_OTHERWISE = (
    DvdcliError, "{what} is on this host already, in another way", "unmount it, then mount it with other options",
)  # fmt: skip
_USED = (InUseError, "{what} is in use", "unmount it everywhere first")

# Of one call
_CALLS: dict[tuple[str, str], _Row] = {
    ("Probe", "FAILED_PRECONDITION"): _NOT_HEALTHY,
    ("CreateVolume", "INVALID_ARGUMENT"): (
        UsageError, "the driver does not make {what} as it is asked for", "mend its parameters and options",
    ),
    ("CreateVolume", "ALREADY_EXISTS"): (
        UsageError, "{what} is there, with other options", "take it with those, or another name",
    ),
    ("CreateVolume", "NOT_FOUND"): (NotFoundError, "what {what} is to be made of is not there", "mend its parameters"),
    ("CreateVolume", "RESOURCE_EXHAUSTED"): (
        DvdcliError, "the storage that this host reaches has no room for {what}", "free some, or see topology",
    ),
    ("CreateVolume", "OUT_OF_RANGE"): (UsageError, "the driver makes no {what} of that size", "another size"),
    ("DeleteVolume", "FAILED_PRECONDITION"): _USED,
    ("ControllerPublishVolume", "NOT_FOUND"): (
        NotFoundError, "the driver knows no {what}, or not this host as a node", "see both in its storage system",
    ),
    ("ControllerPublishVolume", "ALREADY_EXISTS"): _HERE_OTHERWISE,
    ("ControllerPublishVolume", "FAILED_PRECONDITION"): (
        InUseError, "{what} is published elsewhere", "unmount it there first",
    ),
    ("ControllerPublishVolume", "RESOURCE_EXHAUSTED"): (
        DvdcliError, "this host has as many volumes as it can, without {what}", "unmount another one first",
    ),
    ("ControllerUnpublishVolume", "NOT_FOUND"): (
        NotFoundError, "the driver knows no {what}, or not this host as a node, and it may be attached still",
        "see its storage system",
    ),
    ("ValidateVolumeCapabilities", "NOT_FOUND"): _NO_VOLUME,
    ("ControllerGetVolume", "NOT_FOUND"): _NO_VOLUME,
    ("ListVolumes", "ABORTED"): (TryAgainError, "the list of {what} changed too often", "try again"),
    ("ControllerExpandVolume", "INVALID_ARGUMENT"): _CAPABILITY,
    ("ControllerExpandVolume", "NOT_FOUND"): _NO_VOLUME,
    ("ControllerExpandVolume", "FAILED_PRECONDITION"): (
        InUseError, "{what} is published, and grows only while it is not", "unmount it everywhere first",
    ),
    ("NodeStageVolume", "NOT_FOUND"): _NO_VOLUME,
    ("NodeStageVolume", "ALREADY_EXISTS"): _HERE_OTHERWISE,
    ("NodeStageVolume", "FAILED_PRECONDITION"): _IN_ANOTHER_WAY,
    ("NodeUnstageVolume", "NOT_FOUND"): _NO_VOLUME,
    ("NodePublishVolume", "NOT_FOUND"): _NO_VOLUME,
    ("NodePublishVolume", "ALREADY_EXISTS"): _HERE_OTHERWISE,
    ("NodePublishVolume", "FAILED_PRECONDITION"): _IN_ANOTHER_WAY,
    ("NodeUnpublishVolume", "NOT_FOUND"): _NO_VOLUME,
    ("NodeGetVolumeStats", "NOT_FOUND"): _NO_VOLUME,
    ("NodeExpandVolume", "INVALID_ARGUMENT"): _CAPABILITY,
    ("NodeExpandVolume", "NOT_FOUND"): _NO_VOLUME,
    ("NodeExpandVolume", "FAILED_PRECONDITION"): (
        InUseError, "the file system of {what} grows only while it is not mounted", "unmount it, and mount it again",
    ),
}  # fmt: skip

# After these a CreateVolume has certainly made nothing.
REFUSED = frozenset((
    "INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "UNAUTHENTICATED",
))  # fmt: skip
# "Try again", of a driver that answers: the same call, a moment later, goes on where this one was.
AGAIN = frozenset(("ABORTED", "UNAVAILABLE"))


def from_status(driver: str, call: str, what: str, code: str, words: str) -> DvdcliError:
    """Return the error of the *driver*'s answer *code* to *call* about *what*, with the driver's own *words*."""
    kind, text, hint = _CALLS.get((call, code)) or _ANY.get(code) or _ANY["UNKNOWN"]
    said = one_line(words)
    said = f": {said[:_LONGEST]}{'…' if len(said) > _LONGEST else ''}" if said else ""
    message = f"{text.format(what=what)}: {driver} answers {call} with {code}{said}"
    error = kind(message, hint)
    error.status = code  # type: ignore[attr-defined]
    return error


def status_of(error: DvdcliError) -> str:
    """Return the status code of the driver that *error* is about, "" for another error."""
    return str(getattr(error, "status", ""))
