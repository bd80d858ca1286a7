"""Clients in memory and on disk."""

import threading

import pytest

from clients import Client, Registry, UnknownClient


@pytest.fixture
def registry():
    registry = Registry()
    registry.add(Client("Ann", "ann@example.org"))
    registry.add(Client("Bob", "bob@example.com", country="DE"))
    return registry


@pytest.mark.parametrize("mail", ["", "ann", "ann@example", "a b@example.org"])
def test_a_bad_address_is_refused(mail):
    with pytest.raises(ValueError, match="mail"):
        Client("Ann", mail)


def test_a_client_needs_a_name():
    with pytest.raises(ValueError, match="name"):
        Client("", "ann@example.org")


def test_nobody_registers_twice(registry):
    with pytest.raises(ValueError, match="already"):
        registry.add(Client("Ann", "other@example.org"))


def test_a_stranger_is_unknown(registry):
    with pytest.raises(UnknownClient):
        registry.get("Eve")


@pytest.mark.parametrize(
    ("text", "names"), [("ann", ["Ann"]), ("EXAMPLE", ["Ann", "Bob"]), (".com", ["Bob"]), ("x@", [])]
)
def test_search_looks_at_names_and_addresses(registry, text, names):
    assert [client.name for client in registry.search(text)] == names


def test_a_short_password_is_refused(registry):
    with pytest.raises(ValueError, match="short"):
        registry.set_password("Ann", "secret")


def test_only_the_right_password_opens(registry):
    assert not registry.authenticates("Ann", "")
    registry.set_password("Ann", "correct horse")
    assert registry.authenticates("Ann", "correct horse")
    assert not registry.authenticates("Ann", "wrong horse")


def test_a_deactivated_client_may_not_trade(registry):
    registry.set_password("Ann", "correct horse")
    registry.deactivate("Ann")
    assert not registry.authenticates("Ann", "correct horse")


def test_what_is_saved_can_be_loaded(registry, tmp_path):
    registry.save(tmp_path / "clients.json")
    assert list(Registry.load(tmp_path / "clients.json")) == list(registry)


def test_threads_lose_no_client():
    registry = Registry()

    def add(start):
        for number in range(start, start + 200):
            registry.add(Client(f"c{number:04}", "c@example.org"))

    threads = [threading.Thread(target=add, args=(start,)) for start in range(0, 800, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry) == 800
