from pathlib import Path

import cloudpathlib
import pytest

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.support.arguments import address_in


def test_an_address_is_what_was_written_also_as_a_path_of_cloudpathlib():
    address = "s3://bucket/P 1#50%/plate.sqlite"
    client = cloudpathlib.S3Client(no_sign_request=True)
    assert address_in("source_path", client.CloudPath(address)) == address_in("source_path", address) == address
    assert address_in("source_path", Path("a/b")) == "a/b"


@pytest.mark.parametrize("value", [None, 5, b"a", "", "a\0b", object()])
def test_what_is_no_address_is_refused(value):
    with pytest.raises(OptionError, match=r"source_path: .* is no address; give a path, or an address in a store"):
        address_in("source_path", value)
