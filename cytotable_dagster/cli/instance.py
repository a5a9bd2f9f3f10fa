"""What the commands that work on a Dagster instance do: its settings, and the plates that it knows."""

import argparse
from typing import Any

from cytotable_dagster.core.shown import human_bytes


def plate_add(chosen: argparse.Namespace) -> None:
    """Make a plate known to the Dagster instance."""
    import json
    import shlex

    from cytotable_dagster.defs import plates
    from cytotable_dagster.defs.home import LOCATION
    from cytotable_dagster.defs.partitions import key_of

    with _instance() as instance:
        source = None if chosen.source is None else plates.address_of(chosen.source)
        found = None if source is None else _what_is_at(source)
        done = plates.add(instance, chosen.name, source, found=found)
    tags = json.dumps({"dagster/partition": key_of(chosen.name)}, ensure_ascii=False)
    kind = f" ({found.kind}, {human_bytes(found.size)})" if found is not None else ""
    print(f"{done} plate {chosen.name}{kind}; convert it in the web UI, or here and now:")
    print(f"dagster job execute -m {LOCATION} -j convert_plate --tags {shlex.quote(tags)}")


def _what_is_at(source: str) -> Any:
    """The plate at an address; None, and a remark, where its store cannot be asked."""
    import sys

    from cytotable_dagster.core.errors import DownloadError, SourceAccessError, SourceNotFoundError
    from cytotable_dagster.core.intake.listing import look_at
    from cytotable_dagster.defs.resources import PlateSource

    try:
        found = look_at(source, PlateSource().copies().store)
    except (DownloadError, SourceAccessError) as error:
        print(f"not looked at: {error}", file=sys.stderr)
        return None
    if found is None:
        raise SourceNotFoundError(f"{source}: no such file, and no folder with files in it; check the path")
    return found


def plate_list(chosen: argparse.Namespace) -> None:
    """List the plates of the Dagster instance."""
    from cytotable_dagster.core.shown import one_line
    from cytotable_dagster.defs import plates

    with _instance() as instance:
        for name, uri in plates.list_plates(instance):
            print(f"{one_line(name)}  {one_line(uri or '(found by its name)')}")


def plate_remove(chosen: argparse.Namespace) -> None:
    """Make the Dagster instance forget a plate."""
    from cytotable_dagster.defs import plates

    with _instance() as instance:
        plates.remove(instance, chosen.name)
    print(f"removed plate {chosen.name}; its files were left")


def home(chosen: argparse.Namespace) -> None:
    """Set up the Dagster instance."""
    from cytotable_dagster.defs.home import merge_settings, set_pools, write_settings

    home = _dagster_home()
    merged = None if write_settings(home) else merge_settings(home)
    with _instance() as instance:
        set_pools(instance)
    if merged is None:
        print(f"{home}: dagster.yaml written, pools limited")
        return
    added = f"was given {', '.join(merged.added)}" if merged.added else "was left as it is"
    print(f"{home}: pools limited; dagster.yaml {added}")
    for setting in merged.kept:
        print(f"  kept as it is there: {setting}")
    if merged.lacking:
        print("  lacks these settings, which do not fit what is there; see docs/operating.md:")
        print("".join(f"    {line}\n" for line in merged.lacking.splitlines()), end="")


def _instance() -> Any:
    """The Dagster instance of DAGSTER_HOME."""
    _dagster_home()
    from cytotable_dagster.defs.home import open_instance

    return open_instance()


def _dagster_home() -> Any:
    import os
    from pathlib import Path

    from cytotable_dagster.core.errors import OptionError

    home = os.environ.get("DAGSTER_HOME")
    if not home or not Path(home).is_dir():
        raise OptionError("DAGSTER_HOME names no folder: make one for the Dagster instance and export DAGSTER_HOME")
    return Path(home)
