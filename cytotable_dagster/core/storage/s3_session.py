"""A session with S3: connections that end, to where the options say.

How long a store is waited for: 10 s for a connection, or to send a block, and 15 s for each read, in three attempts;
see also `objects.Patience`.
"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.storage.objects import REQUESTS_AT_ONCE
from cytotable_dagster.core.storage.temporary_copies import copies

if TYPE_CHECKING:
    from cloudpathlib import S3Client

# Seconds, see above. Three attempts are what the mode `standard` means where AWS_MAX_ATTEMPTS says nothing else.
CONNECT_SECONDS, READ_SECONDS = 10, 15
_REDIRECTS = 2
_RETRIES = {"mode": "standard"}


def session_of(options: Mapping[str, Any], attempts: int | None = None) -> "S3Client":
    """cloudpathlib's client, with boto3's in it; no call is made. A session that is among the options keeps its own
    timeouts.

    Raises:
        OptionError: an `endpoint_url` that is none.
    """
    import botocore.session
    from botocore.config import Config
    from cloudpathlib import S3Client

    # Content is verified here, by what the store says of it: checksums of later years are not known to every store.
    plain = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    given = dict(options)
    if own := not {"botocore_session", "boto3_session"} & given.keys():
        session = botocore.session.Session()
        session.set_default_client_config(
            Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                max_pool_connections=REQUESTS_AT_ONCE,
                retries={**_RETRIES, **({"total_max_attempts": attempts} if attempts else {})},
                **plain,
            )
        )
        given["botocore_session"] = session
    try:
        made = S3Client(**{**given, **copies()})
        if not own:
            config = made.client.meta.config.merge(Config(**plain))
            made.client = made.sess.client("s3", endpoint_url=given.get("endpoint_url"), config=config)
    except ValueError as error:
        # Of an address with a password no more is shown than the host.
        where = str(given.get("endpoint_url") or error).removeprefix("Invalid endpoint: ").rpartition("@")[2]
        raise OptionError(f"endpoint_url {where}: no address of a store; write it as https://host") from None
    _forbid_circles(made.client.meta.events)
    return made


def storage_options_of(session: "S3Client", options: Mapping[str, Any]) -> dict[str, str]:
    """What the object_store library is told; see `objects.Client`. What is not said here, such as the region of a
    bucket, it finds out."""
    said = {"connect_timeout": f"{CONNECT_SECONDS}s", "client_max_retries": "3", "client_retry_timeout": "60"}
    endpoint = session.client.meta.endpoint_url
    if ".amazonaws.com" not in endpoint:
        said["aws_endpoint"] = endpoint
        said["aws_region"] = session.client.meta.region_name or "us-east-1"
        said["allow_http"] = str(endpoint.startswith("http://")).lower()
    found = None if options.get("no_sign_request") else session.sess.get_credentials()
    if found is None:
        return {**said, "aws_skip_signature": "true"}
    key = found.get_frozen_credentials()
    said |= {"aws_access_key_id": key.access_key, "aws_secret_access_key": key.secret_key}
    return {**said, **({"aws_session_token": key.token} if key.token else {})}


def _forbid_circles(events: Any) -> None:
    """Where a store sends elsewhere, botocore asks it for the bucket's region, and where that answer sends elsewhere,
    again."""
    from botocore.exceptions import BotoCoreError

    class CircleError(BotoCoreError):  # type: ignore[misc]  # botocore has no types
        fmt = "it sends from one place to the next, and from there on"

    asking = threading.local()

    def begin(**_: Any) -> None:
        if getattr(asking, "depth", 0) >= _REDIRECTS:
            raise CircleError
        asking.depth = getattr(asking, "depth", 0) + 1

    def end(**_: Any) -> None:
        asking.depth = max(0, getattr(asking, "depth", 0) - 1)

    events.register("before-call.s3.HeadBucket", begin)
    events.register("after-call.s3.HeadBucket", end)
    events.register("after-call-error.s3.HeadBucket", end)
