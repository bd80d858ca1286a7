"""The clients, kept in memory and on disk."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_KEY_ROUNDS = 60_000


class UnknownClient(KeyError):
    """Nobody is registered under that name."""


@dataclass(frozen=True)
class Client:
    """A client; ``key`` is the hash of the trading password."""

    name: str
    mail: str
    country: str = "CH"
    key: str = ""
    active: bool = True

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a client needs a name")
        if not _MAIL.fullmatch(self.mail):
            raise ValueError(f"{self.mail!r} is not a mail address")


class Registry:
    """All clients; may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[str, Client] = {}

    def add(self, client: Client) -> None:
        """Register a client once."""
        with self._lock:
            if client.name in self._clients:
                raise ValueError(f"{client.name} is registered already")
            self._clients[client.name] = client

    def get(self, name: str) -> Client:
        """Return a client."""
        try:
            return self._clients[name]
        except KeyError:
            raise UnknownClient(name) from None

    def set_password(self, name: str, password: str) -> None:
        """Store the hash of a password of at least eight characters."""
        if len(password) < 8:
            raise ValueError("the password is too short")
        self._update(name, key=_hashed(name, password))

    def authenticates(self, name: str, password: str) -> bool:
        """Say whether an active client has that password."""
        client = self.get(name)
        return client.active and bool(client.key) and client.key == _hashed(name, password)

    def deactivate(self, name: str) -> None:
        """Keep a client on record, but let nobody trade as it."""
        self._update(name, active=False)

    def search(self, text: str) -> list[Client]:
        """Return the clients whose name or mail contains a text, whatever its case."""
        wanted = text.casefold()
        return [
            client for client in self if wanted in client.name.casefold() or wanted in client.mail.casefold()
        ]

    def __iter__(self) -> Iterator[Client]:
        return iter(sorted(self._clients.values(), key=lambda client: client.name))

    def __len__(self) -> int:
        return len(self._clients)

    def save(self, path: Path) -> None:
        """Write all clients to a file."""
        path.write_text(json.dumps([asdict(client) for client in self], indent=2), "utf-8")

    @classmethod
    def load(cls, path: Path) -> Registry:
        """Read what ``save`` wrote."""
        registry = cls()
        for fields in json.loads(path.read_text("utf-8")):
            registry.add(Client(**fields))
        return registry

    def _update(self, name: str, **changes: object) -> None:
        with self._lock:
            self._clients[name] = replace(self.get(name), **changes)


def _hashed(name: str, password: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), name.encode(), _KEY_ROUNDS).hex()
