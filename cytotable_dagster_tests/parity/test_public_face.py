"""What CytoTable 1.2.6 lets a program import and give to `convert` is here under the same name."""

import inspect
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

import cytotable_dagster
from cytotable_dagster_tests.parity.peer import peer_python
from cytotable_dagster_tests.parity.processes import bare_environment

pytestmark = pytest.mark.skipif(
    peer_python() is None, reason="CytoTable's environment is not here: `make parity` makes it"
)

_ASKED = """
import inspect, json, types
import cytotable, cytotable.exceptions
face = [name for name, value in vars(cytotable).items()
        if getattr(value, "__module__", "cytotable").startswith("cytotable")
        and not name.startswith("_") and not isinstance(value, types.ModuleType)]
errors = [name for name, value in vars(cytotable.exceptions).items() if isinstance(value, type)]
told = {name: value.default for name, value in inspect.signature(cytotable.convert).parameters.items()
        if value.default is not value.empty}
print(json.dumps({"face": face, "errors": errors, "defaults": told, "config": cytotable.config,
                  "parameters": list(inspect.signature(cytotable.convert).parameters)}))
"""

# What is decided by what is there where nothing is said (`join` by the destination's name, `preset` by the source).
OTHER_DEFAULTS = {"join": True, "preset": "cellprofiler_csv", "infer_common_schema": True}


@pytest.fixture(scope="module")
def peer() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        told = subprocess.run(
            [str(peer_python()), "-c", _ASKED],
            env=bare_environment(Path(home)),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    return json.loads(told.stdout.splitlines()[-1])


def test_every_name_can_be_imported(peer):
    assert {name for name in peer["face"] if not hasattr(cytotable_dagster, name)} == set()
    assert {name for name in peer["errors"] if not hasattr(cytotable_dagster.errors, name)} == set()


def test_every_parameter_is_taken_by_name_and_means_the_same_when_left_out(peer):
    ours = inspect.signature(cytotable_dagster.convert).parameters
    theirs = set(peer["parameters"]) - {"kwargs"}
    assert theirs - set(ours) == set()
    differing = {name: peer["defaults"][name] for name in theirs & set(ours) if name in peer["defaults"]}
    assert {name: value for name, value in differing.items() if ours[name].default != value} == OTHER_DEFAULTS


def test_arguments_that_need_no_name_are_the_same(peer):
    ours = inspect.signature(cytotable_dagster.convert).parameters.values()
    bare = [option.name for option in ours if option.kind is option.POSITIONAL_OR_KEYWORD]
    assert bare == peer["parameters"][: len(bare)]


def test_presets_are_known_by_the_same_names_and_hold_the_same_facts(peer):
    config = cytotable_dagster.config
    assert set(config) == set(peer["config"])
    for name, theirs in peer["config"].items():
        assert set(config[name]) == set(theirs)
        for fact in ("CONFIG_SOURCE_VERSION", "CONFIG_CHUNK_SIZE", "CONFIG_NAMES_METADATA"):
            assert json.loads(json.dumps(theirs[fact])) == json.loads(json.dumps(config[name][fact], default=dict))
        assert set(config[name]["CONFIG_NAMES_COMPARTMENTS"]) == set(theirs["CONFIG_NAMES_COMPARTMENTS"])
