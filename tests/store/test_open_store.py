"""Which store a URL opens, and what is said of one that opens none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.adapters.s3.store import S3Store
from covfleet.adapters.stores import open_store
from covfleet.errors import ConfigurationError
from covfleet.settings.schema import Settings


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "a\0b",
        "a\nb",
        "gs://bucket/prefix",
        "http://bucket/prefix",
        "file:///tmp/store",
        "s3:bucket",
        "s3:/bucket/prefix",
        "s3://",
        "s3:///prefix",
        "s3://b",
        "s3://bucket name/prefix",
        "s3://bucket/a/../b",
        "s3://bucket//a",
        "s3://bucket?versionId=1",
    ],
)
def test_a_url_that_names_no_store_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url, Settings(), tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/prefix", "https://key:secret@host/bucket"])
def test_a_secret_in_the_url_is_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url, Settings(), tmp_path)
    assert "secret" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "endpoint", ["localhost:9000", "ftp://host", "http://", "http://key:secret@host", "/x"]
)
def test_an_endpoint_that_is_none_is_refused(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="endpoint") as caught:
        open_store("s3://bucket", Settings(endpoint_url=endpoint), tmp_path)
    assert "secret" not in str(caught.value)


def test_a_folder_is_relative_to_the_project(tmp_path: Path) -> None:
    store = open_store("down/store", Settings(), tmp_path)
    assert isinstance(store, LocalStore)
    assert store.url == str(tmp_path / "down/store")
    assert open_store("/elsewhere", Settings(), tmp_path).url == "/elsewhere"


def test_opening_a_folder_makes_nothing(tmp_path: Path) -> None:
    assert list(open_store("store", Settings(), tmp_path).list("")) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
    ],
)
def test_a_bucket_is_opened_without_speaking_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = open_store(url, Settings(endpoint_url="http://127.0.0.1:9"), tmp_path)
    assert isinstance(store, S3Store)
    assert store.url == shown


def test_a_folder_is_opened_without_loading_boto3(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from covfleet.adapters.stores import open_store\n"
        "from covfleet.settings.schema import Settings\n"
        "open_store('store', Settings(), Path('/')); print('botocore' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
