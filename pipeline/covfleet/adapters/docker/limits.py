"""The limits of a worker's container: its user, its resources and its privileges."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from covfleet.errors import WorkerError
from covfleet.settings.schema import ContainerSettings

_NOBODY = 65534


def container_user(wanted: str, uid: int, gid: int) -> str:
    """Return ``user:group`` for the container, both as numbers; by default never root.

    Args:
        wanted: the setting; empty for the default: our own user, or nobody if we are root.
        uid: our own user.
        gid: our own group.
    """
    if wanted:
        user, _, group = wanted.partition(":")
        return f"{user}:{group or user}"  # without a group, Docker uses root's
    return f"{uid}:{gid}" if uid else f"{_NOBODY}:{_NOBODY}"


def limits(settings: ContainerSettings) -> dict[str, Any]:
    """Return Docker's host configuration: limits and dropped privileges."""
    return {
        "network_mode": settings.network,
        "read_only": settings.read_only,
        "tmpfs": {"/tmp": f"size={settings.tmpfs},mode=1777,exec"},  # noqa: S108
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": settings.pids,
        "mem_limit": settings.memory,
        "memswap_limit": settings.memory,  # the same value: no additional swap
        "nano_cpus": round(settings.cpus * 1e9) if settings.cpus else None,
        "init": True,
    }


def hand_over(folder: Path, user: str) -> None:
    """Make ``folder`` writable for the container's ``user``: change its owner if we are root, else its mode.

    Raises:
        WorkerError: this isn't possible.
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
            hint="Its disk may be full or read-only: set TMPDIR to a folder on another one.",
        ) from error
