"""Who may trade, for how much, and how to reach them."""

from clients.limits import LimitExceeded, Limits
from clients.registry import Client, Registry, UnknownClient

__all__ = ["Client", "LimitExceeded", "Limits", "Registry", "UnknownClient"]
