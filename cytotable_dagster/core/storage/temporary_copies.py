"""Where cloudpathlib keeps a file of a store whose path is opened: a folder that is there only while it is needed."""

import secrets
import tempfile
from pathlib import Path
from typing import Any


def copies() -> dict[str, Any]:
    """What cloudpathlib's clients are told of it. The folder is made once a path of ours is opened; their own default
    is made at once."""
    from cloudpathlib.enums import FileCacheMode

    place = Path(tempfile.gettempdir()) / f"cytotable-{secrets.token_hex(8)}"
    return {"local_cache_dir": place, "file_cache_mode": FileCacheMode.tmp_dir}
