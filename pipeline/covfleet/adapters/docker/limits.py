"""What a worker's container may do: as whom it runs, what it may use, and which rights are taken away."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from covfleet.errors import WorkerError
from covfleet.settings.schema import ContainerSettings

_NOBODY = 65534


def container_user(wanted: str, uid: int, gid: int) -> str:
    """Return ``user:group`` for the container, both as numbers, never root by default.

    Args:
        wanted: the setting; empty for the default: ourselves, or nobody if we are root.
        uid: our own user.
        gid: our own group.
    """
    if wanted:
        user, _, group = wanted.partition(":")
        return f"{user}:{group or user}"  # without a group, Docker takes root's
    return f"{uid}:{gid}" if uid else f"{_NOBODY}:{_NOBODY}"


def limits(settings: ContainerSettings) -> dict[str, Any]:
    """Return what Docker calls the host configuration: limits, and rights taken away."""
    return {
        "network_mode": settings.network,
        "read_only": settings.read_only,
        "tmpfs": {"/tmp": f"size={settings.tmpfs},mode=1777,exec"},  # noqa: S108
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": settings.pids,
        "mem_limit": settings.memory,
        "memswap_limit": settings.memory,  # the same figure: no swap besides
        "nano_cpus": round(settings.cpus * 1e9) if settings.cpus else None,
        "init": True,
    }


def hand_over(folder: Path, user: str) -> None:
    """Make ``folder`` writable for the container's ``user``: its own if we may, else open to all.

    Raises:
        WorkerError: neither is possible.
    """
    uid, gid = (int(part) for part in user.split(":"))
    try:
        if os.getuid() == 0:
            os.chown(folder, uid, gid)
        elif os.getuid() != uid:
            folder.chmod(0o777)
    except OSError as error:
        raise WorkerError(
            f"can't make {folder} writable for the container's user {user}: {error.strerror}",
            hint="Its disk may be full or read-only: set TMPDIR to another one.",
        ) from error
