"""publish_build: readers see the old state or the new one, hostile names do nothing, twice is once."""

from __future__ import annotations

import datetime
import hashlib
import http.server
import json
import random
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin
from urllib.request import urlopen

import pytest
from covfleet.errors import ConfigurationError, IncompleteDataError, StoreError
from covfleet.model import DataFile, Ledger, ReportFile, ReportManifest, Totals, Verdict
from covfleet.publish.stage import publish_build
from covfleet.store.build import StoredBuild
from covfleet.store.encoding import to_json
from covfleet.store.keys import BuildKeys, SiteKeys
from support.troubled_store import TroubledStore

HOSTILE = "\"><script>alert(1)</script>&'{{ 7*7 }}/../.."
FILES = {
    "html/index.html": b"<h1>report</h1>",
    "html/style.css": b"h1{}",
    "coverage.xml": b"<coverage/>",
    "badge.svg": b"<svg/>",
}
NOON = datetime.datetime(2025, 11, 22, 12, tzinfo=datetime.UTC)


def add_build(
    store: TroubledStore,
    build: str,
    *,
    minute: int = 0,
    covered: int = 90,
    verdict: Verdict = "complete",
    commit: str = "c1",
) -> BuildKeys:
    keys = BuildKeys(commit, build)
    sha = hashlib.sha256(f"{build} {covered}".encode()).hexdigest()
    ledger = Ledger(
        commit, build, "main", verdict, 3, {"passed": 2, "failed": 1}, combined=DataFile(".coverage", 1, sha)
    )
    files = {**FILES, "summary.md": build.encode()}
    for path, data in files.items():
        store.put(keys.report(path), data)
    manifest = ReportManifest(
        commit=commit,
        build=build,
        branch="main",
        created_at=(NOON + datetime.timedelta(minutes=minute)).isoformat(),
        verdict=verdict,
        totals=Totals(files=1, statements=100, covered_statements=covered),
        data_sha256=sha,
        files=tuple(
            ReportFile(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items()
        ),
    )
    store.put(keys.ledger, to_json(ledger))
    store.put(keys.manifest, to_json(manifest))
    return keys


def publish(
    store: TroubledStore, keys: BuildKeys, site: TroubledStore, branch: str = "main", **options: bool
) -> str:
    return publish_build(StoredBuild(store, keys), site, branch=branch, workers=3, **options)


def latest(site: TroubledStore, branch: str = "main") -> str:
    return str(json.loads(site.objects[SiteKeys(branch).pointer])["build"])


def listed(site: TroubledStore, branch: str = "main") -> list[str]:
    return re.findall(
        r'<th scope="row"><a href="[^"]*">([^<]*)</a>', site.objects[SiteKeys(branch).index].decode()
    )


@pytest.fixture
def store(tmp_path: Path) -> TroubledStore:
    return TroubledStore(tmp_path / "store")


@pytest.fixture
def site(tmp_path: Path) -> TroubledStore:
    return TroubledStore(tmp_path / "site")


@pytest.mark.parametrize("verdict", ["partial", "conflicting"])
def test_incomplete_data_is_not_published(
    store: TroubledStore, site: TroubledStore, verdict: Verdict
) -> None:
    with pytest.raises(IncompleteDataError, match=verdict):
        publish(store, add_build(store, "1", verdict=verdict), site)
    assert not site.objects


def test_partial_data_is_published_marked_when_that_is_asked_for(
    store: TroubledStore, site: TroubledStore
) -> None:
    publish(store, add_build(store, "1", verdict="partial"), site, allow_partial=True)
    assert "≥ 90.00%" in site.objects["main/index.html"].decode()
    assert '<span class="verdict partial">partial</span>' in site.objects["main/index.html"].decode()


def test_a_damaged_report_is_named_and_nothing_points_to_it(
    store: TroubledStore, site: TroubledStore
) -> None:
    keys = add_build(store, "1")
    store.put(keys.report("coverage.xml"), b"<coverage")
    with pytest.raises(IncompleteDataError, match=r"coverage\.xml"):
        publish(store, keys, site)
    assert all(key.startswith("main/1/") for key in site.objects)


def test_a_manifest_cannot_write_outside_the_builds_folder(store: TroubledStore, site: TroubledStore) -> None:
    keys = add_build(store, "1")
    store.put(keys.manifest, store.objects[keys.manifest].replace(b"coverage.xml", b"../../../index.html"))
    with pytest.raises(ConfigurationError, match=r"\.\./"):
        publish(store, keys, site)


@pytest.mark.parametrize("build", ["index.html", "latest.json"])
def test_a_build_cannot_take_the_name_of_a_page(
    store: TroubledStore, site: TroubledStore, build: str
) -> None:
    with pytest.raises(ConfigurationError, match="uses that name"):
        publish(store, add_build(store, build), site)


def test_a_name_that_is_taken_by_other_data_is_refused(store: TroubledStore, site: TroubledStore) -> None:
    publish(store, add_build(store, "1"), site)
    before = dict(site.objects)
    with pytest.raises(IncompleteDataError, match="other data"):
        publish(store, add_build(store, "1", covered=10), site)
    with pytest.raises(IncompleteDataError, match="of commit c1"):
        publish(store, add_build(store, "1", commit="c2"), site)
    assert site.objects == before


@pytest.mark.parametrize("seed", range(20))
def test_broken_anywhere_readers_see_the_old_state_and_again_completes_it(
    store: TroubledStore, site: TroubledStore, seed: int
) -> None:
    publish(store, add_build(store, "1"), site)
    keys = add_build(store, "2", minute=1)
    left = random.Random(seed).randrange(9)

    def breaks(key: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise StoreError(f"connection lost at {key}")

    site.before_write = breaks
    with pytest.raises(StoreError, match="connection lost"):
        publish(store, keys, site)
    check_that_every_link_leads_somewhere(site)
    if latest(site) == "2":
        assert {f"main/2/{path}" for path in FILES} <= set(site.objects)
    site.before_write = lambda key: None
    publish(store, keys, site)
    assert (latest(site), listed(site)) == ("2", ["2", "1"])
    check_that_every_link_leads_somewhere(site)


def check_that_every_link_leads_somewhere(site: TroubledStore) -> None:
    for page in ("main/index.html", "index.html"):
        for href in Links.of(site.objects[page]):
            folder = page.rpartition("/")[0]
            target = f"{folder}/{unquote(href)}".lstrip("/").replace("main/../", "")
            assert target in site.objects, f"{page} -> {href}"


class Links(HTMLParser):
    """Collects what a page refers to, and refuses what a strict policy refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @classmethod
    def of(cls, page: bytes) -> list[str]:
        parser = cls()
        parser.feed(page.decode())
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "style", "iframe", "img", "object", "form")
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "style"
            if name in ("href", "src"):
                assert value
                self.found.append(value)


def test_the_order_of_writing_is_folder_document_pointer_pages(
    store: TroubledStore, site: TroubledStore
) -> None:
    publish(store, add_build(store, "1"), site)
    kinds = ["folder" if key.startswith("main/1/") else key for key in site.writes]
    assert [kind for number, kind in enumerate(kinds) if kind not in kinds[:number]] == [
        "folder",
        "main/_builds/1.json",
        "main/latest.json",
        next(key for key in kinds if key.startswith("_assets/")),
        "main/index.html",
        "_branches/main.json",
        "index.html",
    ]


def test_publishing_twice_writes_nothing(store: TroubledStore, site: TroubledStore) -> None:
    keys = add_build(store, "1")
    first = publish(store, keys, site)
    site.writes.clear()
    assert publish(store, keys, site) == first == f"{site.root}/main/1/html/index.html"
    assert site.writes == []


def test_an_older_build_that_finishes_later_is_listed_but_not_the_latest(
    store: TroubledStore, site: TroubledStore
) -> None:
    publish(store, add_build(store, "9", minute=5), site)
    publish(store, add_build(store, "10", minute=1), site)
    assert latest(site) == "9"
    assert listed(site) == ["9", "10"]


def test_of_two_builds_of_one_moment_the_greater_id_is_newer(
    store: TroubledStore, site: TroubledStore
) -> None:
    for build in ("b", "c", "a"):
        publish(store, add_build(store, build), site)
    assert latest(site) == "c"


def test_a_pointer_that_another_publisher_moves_meanwhile_never_goes_back(
    store: TroubledStore, site: TroubledStore
) -> None:
    older, newer = add_build(store, "1"), add_build(store, "2", minute=1)

    def overtaken(key: str) -> None:
        if key == "main/latest.json":
            site.before_write = lambda key: None
            publish(store, newer, site)

    site.before_write = overtaken
    publish(store, older, site)
    assert latest(site) == "2"
    assert listed(site) == ["2", "1"]


def test_a_page_that_another_publisher_writes_meanwhile_keeps_its_build(
    store: TroubledStore, site: TroubledStore
) -> None:
    first, second = add_build(store, "1"), add_build(store, "2", minute=1)

    def overtaken(key: str) -> None:
        if key == "main/index.html":
            site.before_write = lambda key: None
            publish(store, second, site)

    site.before_write = overtaken
    publish(store, first, site)
    assert listed(site) == ["2", "1"]


def test_many_publishers_at_once_lose_nothing(store: TroubledStore, site: TroubledStore) -> None:
    builds = [add_build(store, f"b{number}", minute=number) for number in range(8)]
    threads = [threading.Thread(target=publish, args=(store, keys, site)) for keys in builds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert latest(site) == "b7"
    assert listed(site) == [f"b{number}" for number in reversed(range(8))]


def test_what_the_branch_s_build_before_has_is_copied_within_the_site(
    store: TroubledStore, site: TroubledStore
) -> None:
    publish(store, add_build(store, "1"), site)
    publish(store, add_build(store, "2", minute=1), site)
    copied = {key for key in site.copies if key.startswith("main/2/")}
    assert copied == {f"main/2/{path}" for path in FILES}
    for path, data in FILES.items():
        assert site.objects[f"main/2/{path}"] == data
        assert site.headers[f"main/2/{path}"] == site.headers[f"main/1/{path}"]
    assert site.objects["main/2/summary.md"] == b"2"


def test_a_damaged_report_in_the_site_is_not_copied_on(store: TroubledStore, site: TroubledStore) -> None:
    publish(store, add_build(store, "1"), site)
    site.put("main/1/html/index.html", b"<h1>rep")
    publish(store, add_build(store, "2", minute=1), site)
    assert site.objects["main/2/html/index.html"] == FILES["html/index.html"]


def test_a_site_that_cannot_copy_gets_all_files(
    store: TroubledStore, site: TroubledStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise StoreError("no copies here")

    publish(store, add_build(store, "1"), site)
    monkeypatch.setattr(TroubledStore, "copy", refused)
    publish(store, add_build(store, "2", minute=1), site)
    assert {f"main/2/{path}" for path in FILES} <= set(site.objects)


@pytest.mark.parametrize("pointer", [b"{", b"\xff", None])
def test_a_site_whose_newest_build_nobody_knows_gets_all_files(
    store: TroubledStore, site: TroubledStore, pointer: bytes | None
) -> None:
    first = add_build(store, "1")
    publish(store, first, site)
    if pointer is None:
        (store.root / first.manifest).unlink()
    else:
        site.put(SiteKeys("main").pointer, pointer)
    second = add_build(store, "2", minute=1)
    if pointer is None:
        publish(store, second, site)
    else:
        with pytest.raises(IncompleteDataError, match=r"latest\.json"):
            publish(store, second, site)  # which says that the pointer is damaged, as before
    assert site.copies == {}
    assert {f"main/2/{path}" for path in FILES} <= set(site.objects)


def test_content_types_and_cache_headers(store: TroubledStore, site: TroubledStore) -> None:
    publish(store, add_build(store, "1"), site)
    for_ever = "public, max-age=31536000, immutable"
    assert site.headers["main/1/html/index.html"] == ("text/html; charset=utf-8", for_ever)
    assert site.headers["main/1/html/style.css"] == ("text/css; charset=utf-8", for_ever)
    assert site.headers["main/1/badge.svg"] == ("image/svg+xml", for_ever)
    assert site.headers["main/latest.json"] == ("application/json", "no-cache")
    assert site.headers["main/index.html"] == ("text/html; charset=utf-8", "no-cache")
    assert site.headers["index.html"] == ("text/html; charset=utf-8", "no-cache")


@pytest.mark.parametrize(
    "branch", [HOSTILE, "feature/x", "..", "_branches", "index.html", "", "é 🦉", "-rf", "%2e%2e", "a?b#c"]
)
def test_any_branch_name_is_shown_as_it_is_and_stays_in_a_folder_of_its_own(
    store: TroubledStore, site: TroubledStore, branch: str
) -> None:
    publish(store, add_build(store, "1"), site)
    publish(store, add_build(store, "1"), site, branch=branch)
    folders = {key.split("/")[0] for key in site.objects}
    assert len(folders) == 5  # main, the other, _branches, _assets, index.html
    assert ".." not in {part for key in site.objects for part in key.split("/")}
    assert latest(site, "main") == latest(site, branch) == "1"
    top = site.objects["index.html"].decode()
    assert "<script" not in top + site.objects[SiteKeys(branch).index].decode()
    assert quote(SiteKeys(branch).index) in Links.of(top.encode())
    assert "{{ 7*7 }}" in top or branch != HOSTILE


@pytest.fixture
def address(site: TroubledStore) -> Iterator[str]:
    """The site behind an ordinary web server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(site.root))

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("branch", ["feature/a b", HOSTILE, "é 🦉", "%2e%2e"])
def test_the_links_lead_to_the_report_on_an_ordinary_web_server(
    store: TroubledStore, site: TroubledStore, address: str, branch: str
) -> None:
    publish(store, add_build(store, "1"), site, branch=branch)
    url = f"{address}/index.html"
    for ending in ("/index.html", "/1/html/index.html"):
        links = [urljoin(url, href) for href in Links.of(fetched(url))]
        assert all(fetched(link) for link in links)
        url = next(link for link in links if link.endswith(ending))
    assert fetched(url) == FILES["html/index.html"]


def fetched(url: str) -> bytes:
    with urlopen(url, timeout=10) as response:
        return bytes(response.read())


def test_the_pages_can_be_made_again_from_the_documents_alone(
    store: TroubledStore, site: TroubledStore
) -> None:
    keys = [add_build(store, f"{number}", minute=number) for number in range(3)]
    for build in keys:
        publish(store, build, site)
    pages = {key: site.get(key).data for key in ("index.html", "main/index.html")}
    for key in pages:
        (site.root / key).unlink()
    publish(store, keys[0], site)
    assert {key: site.objects[key] for key in pages} == pages


def test_unverified_data_is_published_as_such(store: TroubledStore, site: TroubledStore) -> None:
    publish(store, add_build(store, "1", verdict="unverified"), site)
    assert '<span class="verdict unverified">' in site.objects["main/index.html"].decode()


def test_a_manifest_of_reports_that_were_combined_again_is_refused(
    store: TroubledStore, site: TroubledStore
) -> None:
    keys = add_build(store, "1")
    ledger = store.objects[keys.ledger]
    add_build(store, "1", covered=10)
    store.put(keys.ledger, ledger)
    with pytest.raises(IncompleteDataError, match="other data"):
        publish(store, keys, site)


def test_the_damaged_document_of_another_build_is_named(store: TroubledStore, site: TroubledStore) -> None:
    publish(store, add_build(store, "1"), site)
    site.put("main/_builds/1.json", b"{")
    with pytest.raises(IncompleteDataError, match=r"_builds/1\.json"):
        publish(store, add_build(store, "2", minute=1), site)
