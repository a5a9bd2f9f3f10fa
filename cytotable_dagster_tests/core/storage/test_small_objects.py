"""Small objects of S3 come by a way that costs less; what is out of the ordinary is left to boto3, and never believed."""

import io
import os
from dataclasses import replace

import pytest

from cytotable_dagster.core.errors import SourceChangedError
from cytotable_dagster.core.storage.s3_small import Small

_CONTENT = b"ImageNumber,ObjectNumber\n1,1\n"


@pytest.fixture
def uri(in_store) -> str:
    """Its key has what addresses escape."""
    uri = in_store.address("a folder/%41+ü#?.csv")
    in_store.client.put(uri, io.BytesIO(_CONTENT))
    return uri


def test_the_content_comes_in_one_request(in_store, passing, uri):
    remote = in_store.client.head(uri)
    passing.clear()
    assert in_store.client.small(remote) == _CONTENT
    assert dict(passing.seen) == {"GetObject": 1}


def test_another_version_than_was_asked_for_is_an_error(in_store, uri):
    remote = in_store.client.head(uri)
    in_store.client.put(uri, io.BytesIO(_CONTENT[::-1]))
    with pytest.raises(SourceChangedError, match="was replaced"):
        in_store.client.small(remote)


def test_what_is_not_as_the_store_said_is_no_answer_and_then_it_is_asked_no_more(in_store, passing, uri):
    remote = in_store.client.head(uri)
    in_store.client.put(uri, io.BytesIO(_CONTENT[::-1]))
    passing.heedless = True
    passing.seen.clear()
    for _ in range(5):
        assert in_store.client.small(remote) is None
    assert 0 < passing.seen["GetObject"] < 5


@pytest.mark.parametrize("code", [403, 404, 500, 503])
def test_what_the_store_refuses_is_left_to_the_one_that_tells_why(in_store, passing, uri, code):
    remote = in_store.client.head(uri)
    passing.refused["GetObject"] = (code, "Refused")
    assert in_store.client.small(remote) is None


def test_an_object_whose_etag_is_no_md5_is_not_asked_for(in_store, passing, uri):
    remote = in_store.client.head(uri)
    passing.seen.clear()
    for other in (replace(remote, etag=f"{remote.etag}-1"), replace(remote, encrypted=True), replace(remote, size=0)):
        assert in_store.client.small(other) is None
    assert dict(passing.seen) == {}


@pytest.mark.parametrize("endpoint", ["https://s3-fips.us-east-1.amazonaws.com", "https://s3.amazonaws.com"])
def test_addresses_of_aws_that_it_cannot_know_are_not_asked(endpoint, in_store, uri):
    way = Small(endpoint, dict, lambda bucket: "")
    assert way.content(in_store.client.head(uri)) is None


def test_a_forked_process_does_without(in_store, uri, monkeypatch):
    remote = in_store.client.head(uri)
    assert in_store.client.small(remote) == _CONTENT
    # Forked processes have other numbers; to fork one here could leave locks of other threads held in it.
    monkeypatch.setattr(os, "getpid", lambda: 0)
    assert in_store.client.small(remote) is None
