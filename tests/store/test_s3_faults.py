"""What the S3 store makes of a bad network and of a bad server: it recovers, or says what to do."""

from __future__ import annotations

import datetime
import hashlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.auth
import pytest
from covfleet.adapters.s3.store import S3Store
from covfleet.errors import ConfigurationError, ObjectNotFoundError, PreconditionFailedError, StoreError
from covfleet.settings.schema import S3Settings
from covfleet.store.transfer import download_all, probe_conditions, put_once
from support.faulty_proxy import Fault, FaultyProxy
from support.seaweed import Seaweed

pytestmark = pytest.mark.s3

DATA = bytes(range(256)) * 2000


@pytest.fixture
def proxy(seaweed: Seaweed) -> Iterator[FaultyProxy]:
    with FaultyProxy(seaweed) as proxy:
        yield proxy


@pytest.fixture
def waits() -> list[float]:
    """How long the store waited before each further attempt; nobody really waits."""
    return []


@pytest.fixture
def make(s3_url: str, proxy: FaultyProxy, waits: list[float]) -> Callable[..., S3Store]:
    """Make a store behind the proxy; options are those of ``S3Settings``."""
    bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")

    def make(endpoint_url: str = proxy.url, bucket: str = bucket, **options: object) -> S3Store:
        settings = S3Settings(**({"attempts": 3, "timeout_s": 5} | options))
        return S3Store(bucket, prefix, settings, endpoint_url, sleep=waits.append)

    return make


@pytest.fixture
def store(make: Callable[..., S3Store]) -> S3Store:
    return make()


def answer(code: str, status: int, times: int | None = None, method: str = "") -> Fault:
    return Fault("answer", method, times=times, code=code, status=status)


@pytest.mark.parametrize(
    "fault",
    [
        answer("SlowDown", 503, times=2, method="PUT"),
        answer("InternalError", 200, times=2, method="PUT"),  # S3 may find out after it has said 200
        answer("", 503, times=2, method="HEAD"),
        Fault("lose_answer", "PUT", times=2),
    ],
    ids=lambda fault: f"{fault.method} {fault.kind} {fault.status}",
)
def test_a_copy_survives_what_passes(store: S3Store, proxy: FaultyProxy, fault: Fault) -> None:
    store.put("a", DATA)
    proxy.inject(fault)
    store.copy("a", "b", sha256=hashlib.sha256(DATA).hexdigest())
    assert store.get("b").data == DATA
    assert proxy.count("PUT") + proxy.count("HEAD") > 3


def test_a_copy_that_is_not_the_same_is_an_error(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", DATA)
    copied = store._client.copy_object

    def other(**options: object) -> dict[str, object]:
        return {**copied(**options), "CopyObjectResult": {"ETag": '"0123"'}}

    monkeypatch.setattr(store._client, "copy_object", other)
    with pytest.raises(StoreError, match=r"can't copy .*/b: the copy differs from its source"):
        store.copy("a", "b", sha256=hashlib.sha256(DATA).hexdigest())


def test_a_refused_copy_says_which_rights_are_needed(store: S3Store, proxy: FaultyProxy) -> None:
    store.put("a", DATA)
    proxy.inject(answer("AccessDenied", 403, method="PUT"))
    with pytest.raises(StoreError) as caught:
        store.copy("a", "b", sha256=hashlib.sha256(DATA).hexdigest())
    assert "s3:GetObject, s3:PutObject" in caught.value.hint


@pytest.mark.parametrize(
    "fault",
    [
        answer("SlowDown", 503, times=2),
        answer("InternalError", 500, times=2),
        answer("ConditionalRequestConflict", 409, times=2),
        answer("BadDigest", 400, times=2),
        answer("TooManyRequests", 429, times=2),
        Fault("reset_upload", times=2),
        Fault("lose_answer", times=2),
    ],
    ids=lambda fault: f"{fault.kind} {fault.code}",
)
def test_a_write_survives_what_passes(
    store: S3Store, proxy: FaultyProxy, tmp_path: Path, fault: Fault
) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    proxy.inject(fault)
    store.upload(source, "a")
    assert proxy.count("PUT") == 3
    assert store.get("a").data == DATA


@pytest.mark.parametrize("kind", ["reset_download", "truncate", "cut_short", "flip", "lose_answer"])
def test_a_read_survives_what_passes(store: S3Store, proxy: FaultyProxy, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    store.put("a", DATA)
    proxy.inject(Fault(kind, "GET", times=2))
    store.download("a", target)
    assert target.read_bytes() == DATA
    assert proxy.count("GET") == 3


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("reset_download", "Connection"),
        ("truncate", "256000 read, but total bytes expected is 512000"),
        ("cut_short", "checksum|SHA-256"),
        ("flip", "checksum|SHA-256"),
    ],
)
def test_a_download_that_never_arrives_whole_leaves_no_file(
    store: S3Store, proxy: FaultyProxy, tmp_path: Path, kind: str, said: str
) -> None:
    store.put("a", DATA)
    proxy.inject(Fault(kind, "GET", times=None))
    with pytest.raises(StoreError, match=said) as caught:
        store.download("a", tmp_path / "target")
    assert "/a:" in str(caught.value)
    assert "3 attempts" in str(caught.value)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_waits_grow_and_differ(make: Callable[..., S3Store], proxy: FaultyProxy, waits: list[float]) -> None:
    proxy.inject(answer("SlowDown", 503))
    with pytest.raises(StoreError):
        make(attempts=8).get("a")
    assert len(waits) == 7
    assert all(0.125 * 2**n <= wait <= 0.25 * 2**n for n, wait in enumerate(waits[:6]))
    assert waits[6] <= 10


def test_slow_down_for_ever_ends(store: S3Store, proxy: FaultyProxy, s3_url: str) -> None:
    proxy.inject(answer("SlowDown", 503))
    with pytest.raises(StoreError, match=r"SlowDown \(503\): injected \(3 attempts\)") as caught:
        store.put("a", DATA)
    assert f"can't write {s3_url}/a" in str(caught.value)
    assert "s3.connections" in caught.value.hint
    assert proxy.count("PUT") == 3


def test_put_once_is_ours_though_the_answer_was_lost(store: S3Store, proxy: FaultyProxy) -> None:
    proxy.inject(Fault("lose_answer", "PUT"))
    assert put_once(store, "claim", b"mine")
    assert not put_once(store, "claim", b"theirs")
    assert store.get("claim").data == b"mine"


def test_a_lost_answer_to_a_replacement_is_a_refusal_that_must_be_read_back(
    store: S3Store, proxy: FaultyProxy
) -> None:
    etag = store.put("claim", b"theirs")
    proxy.inject(Fault("lose_answer", "PUT"))
    with pytest.raises(PreconditionFailedError):
        store.put("claim", b"mine", if_match=etag)
    assert store.get("claim").data == b"mine"


def test_a_black_hole_ends_in_time(make: Callable[..., S3Store], proxy: FaultyProxy) -> None:
    proxy.inject(Fault("swallow", times=None))
    with pytest.raises(StoreError, match=r"timeout.*2 attempts") as caught:
        make(timeout_s=0.3, attempts=2).get("a")
    assert "--endpoint-url" in caught.value.hint


def test_an_endpoint_where_nobody_listens_is_named(make: Callable[..., S3Store]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(StoreError, match=f"Could not connect.*{url}") as caught:
            make(endpoint_url=url).get("a")
    assert "--endpoint-url" in caught.value.hint


def test_an_endpoint_that_speaks_html_is_told(store: S3Store, proxy: FaultyProxy) -> None:
    proxy.inject(Fault("html", times=None))
    with pytest.raises(StoreError, match="can't list") as caught:
        list(store.list(""))
    assert "doesn't speak S3" in caught.value.hint
    with pytest.raises(StoreError, match=r"can't read .* didn't come from S3"):
        store.get("a")
    with pytest.raises(StoreError, match=r"can't write .*") as caught:
        store.put("a", b"x")
    assert "doesn't speak S3" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "status", "hint"),
    [
        ("AccessDenied", 403, "s3:GetObject and s3:ListBucket"),
        ("RequestTimeTooSkewed", 403, "clock"),
        ("SignatureDoesNotMatch", 403, "credentials"),
        ("InvalidAccessKeyId", 403, "credentials"),
        ("AuthorizationHeaderMalformed", 400, "s3.region"),
        ("NotImplemented", 501, "covfleet doctor"),
    ],
)
def test_a_refusal_is_explained_and_not_repeated(
    store: S3Store, proxy: FaultyProxy, code: str, status: int, hint: str
) -> None:
    proxy.inject(answer(code, status))
    with pytest.raises(StoreError, match=rf"can't read .*/a: S3 answered {code} \({status}\)") as caught:
        store.get("a")
    assert not isinstance(caught.value, ObjectNotFoundError)
    assert hint in caught.value.hint
    assert proxy.count("GET") == 1


def test_a_refused_write_or_listing_names_its_own_permission(store: S3Store, proxy: FaultyProxy) -> None:
    proxy.inject(answer("AccessDenied", 403))
    with pytest.raises(StoreError) as write:
        store.put("a", b"x")
    with pytest.raises(StoreError) as listing:
        list(store.list(""))
    assert "s3:PutObject" in write.value.hint
    assert "s3:ListBucket" in listing.value.hint


def test_wrong_credentials_are_told_by_the_real_server(
    make: Callable[..., S3Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    with pytest.raises(StoreError, match=r"SignatureDoesNotMatch|AccessDenied") as caught:
        make().put("a", b"x")
    assert "a-wrong-secret" not in str(caught.value) + caught.value.hint


def test_a_clock_that_is_an_hour_off_is_told_by_the_real_server(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def an_hour_ahead() -> datetime.datetime:
        return now() + datetime.timedelta(hours=1)

    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(botocore.auth, "get_current_datetime", an_hour_ahead)
    with pytest.raises(StoreError, match="RequestTimeTooSkewed") as caught:
        store.put("a", b"x")
    assert "clock" in caught.value.hint


def test_no_credentials_at_all_are_told(
    make: Callable[..., S3Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="credentials") as caught:
        make().get("a")
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_a_profile_that_is_not_there_is_told(
    make: Callable[..., S3Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(ConfigurationError, match="no-such-profile"):
        make()


def test_a_bucket_that_is_not_there_is_told_by_the_real_server(make: Callable[..., S3Store]) -> None:
    store = make(bucket="no-such-bucket")
    for use in (lambda: store.get("a"), lambda: store.put("a", b"x"), lambda: list(store.list(""))):
        with pytest.raises(StoreError, match="NoSuchBucket") as caught:
            use()
        assert not isinstance(caught.value, ObjectNotFoundError)
        assert "Create the bucket" in caught.value.hint


def test_expired_credentials_are_told(
    make: Callable[..., S3Store], proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-secret-token")
    proxy.inject(answer("ExpiredToken", 400))
    with pytest.raises(StoreError, match="ExpiredToken") as caught:
        make().get("a")
    assert "renew" in caught.value.hint
    assert "a-secret-token" not in str(caught.value) + caught.value.hint


def test_credentials_that_were_renewed_in_the_shared_file_are_used(
    make: Callable[..., S3Store],
    proxy: FaultyProxy,
    seaweed: Seaweed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(secret: str) -> None:
        file.write_text(
            f"[default]\naws_access_key_id={seaweed.access_key}\naws_secret_access_key={secret}\n"
        )

    file = tmp_path / "credentials"
    write("the-old-secret")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    store = make()
    write(seaweed.secret_key)
    proxy.inject(answer("ExpiredToken", 400, times=1))
    store.put("a", b"x")
    assert store.get("a").data == b"x"


def test_what_the_server_says_cannot_write_to_the_terminal(store: S3Store, proxy: FaultyProxy) -> None:
    proxy.inject(
        Fault("answer", code="AccessDenied", status=403, times=None, message="a&#10;b\u202ec" + "x" * 999)
    )
    with pytest.raises(StoreError) as caught:
        store.get("a")
    assert "a bcx" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("condition", ["If-None-Match", "If-Match"])
def test_an_endpoint_that_ignores_conditions_is_found(
    store: S3Store, proxy: FaultyProxy, condition: str
) -> None:
    proxy.inject(Fault("ignore_conditions", "PUT", times=None, condition=condition))
    with pytest.raises(StoreError, match=rf"ignores conditional puts \({condition}\)") as caught:
        probe_conditions(store)
    assert "honours" in caught.value.hint


def test_every_page_of_a_listing_is_tried_again(store: S3Store, proxy: FaultyProxy) -> None:
    store.put("a", b"x")
    proxy.inject(answer("SlowDown", 503, times=1, method="GET"))
    proxy.inject(Fault("truncate", "GET"))
    assert [info.key for info in store.list("")] == ["a"]


def test_foreign_objects_are_read_and_listed_and_folder_markers_are_not(
    make: Callable[..., S3Store], seaweed: Seaweed, s3_url: str
) -> None:
    prefix = s3_url.removeprefix(f"s3://{seaweed.bucket}/")
    client = seaweed.client()
    client.put_object(Bucket=seaweed.bucket, Key=f"{prefix}/commit/", Body=b"")
    client.put_object(Bucket=seaweed.bucket, Key=f"{prefix}/commit/.coverage.x", Body=b"foreign")
    client.put_object(Bucket=seaweed.bucket, Key=f"{prefix}-other/a", Body=b"another store's")
    store = make(endpoint_url=seaweed.endpoint_url)
    assert [info.key for info in store.list("")] == ["commit/.coverage.x"]
    assert store.get("commit/.coverage.x").data == b"foreign"


def test_content_type_and_cache_header_are_kept(store: S3Store, seaweed: Seaweed, s3_url: str) -> None:
    store.put("page.html", b"<p>", content_type="text/html; charset=utf-8", cache_control="no-cache")
    key = s3_url.removeprefix(f"s3://{seaweed.bucket}/") + "/page.html"
    head = seaweed.client().head_object(Bucket=seaweed.bucket, Key=key)
    assert (head["ContentType"], head["CacheControl"]) == ("text/html; charset=utf-8", "no-cache")


def test_every_failed_download_has_a_line_of_its_own(
    store: S3Store, proxy: FaultyProxy, tmp_path: Path
) -> None:
    for key in ("good", "bad", "worse"):
        store.put(key, DATA)
    proxy.inject(Fault("flip", "GET", path="/bad", times=None))
    proxy.inject(Fault("truncate", "GET", path="/worse", times=None))
    pairs = [(tmp_path / key, key) for key in ("absent", "bad", "good", "worse")]
    with pytest.raises(StoreError) as caught:
        download_all(store, pairs, workers=4)
    lines = str(caught.value).splitlines()
    assert [line.split(":", 1)[0] for line in lines] == ["download s3"] * 3
    for key, line in zip(("absent", "bad", "worse"), lines, strict=True):
        assert f"{store.url}/{key} -> {tmp_path / key}" in line
    assert [path.name for path in tmp_path.iterdir()] == ["good"]
