"""A Dagster deployment of its own: an instance, a lake, a folder of plates, and a web server that shows them."""

import json
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.demo.servers import web_server
from cytotable_dagster_tests.core.plates import JUMP, Table, plate, sites, write_sqlite

CHUNKS = 4
COMPARTMENTS = ("Image", "Cells", "Cytoplasm", "Nuclei")
TABLES = (*COMPARTMENTS, "single_cells")
CHUNK_ASSETS = tuple(f"{name.lower()}_chunk" for name in COMPARTMENTS)
PLATE_ASSETS = ("plate_sqlite", *(name.lower() for name in COMPARTMENTS), "single_cells")


@dataclass(frozen=True)
class Deployment:
    """Runs are executed in this process, unless they are launched by the web server."""

    folder: Path
    instance: dg.DagsterInstance
    # What is started for it, ended with it.
    started: ExitStack = field(default_factory=ExitStack, repr=False)

    @cached_property
    def url(self) -> str:
        """The web server's, which starts when it is first asked for."""
        return self.started.enter_context(web_server(self.folder / "home", {})).url

    def lake(self, name: str) -> PlateFolder:
        return PlateFolder(self.folder / "lake" / name)

    def write(self, name: str, tables: Mapping[str, Table] | None = None) -> Path:
        """A plate's file, where plates are found by their name."""
        path = self.folder / "plates" / f"{name}.sqlite"
        path.unlink(missing_ok=True)
        return write_sqlite(path, plate(JUMP, sites(3, 2, 0, 4, 1)) if tables is None else tables)

    def add(self, name: str, tables: Mapping[str, Table] | None = None) -> Path:
        """The same, known to the instance."""
        self.instance.add_dynamic_partitions("plates", [name])
        return self.write(name, tables)

    def convert(self, name: str, **resources: dg.ConfigurableResource) -> dg.ExecuteInProcessResult:
        """The whole plate in one run."""
        return self._run("convert_plate", name, resources)

    def run(self, job: str, **resources: dg.ConfigurableResource) -> dg.ExecuteInProcessResult:
        """A job that is of no plate."""
        return self._run(job, None, resources)

    def run_once(self, job: Any) -> dg.ExecuteInProcessResult:
        """A job that definitions do not have."""
        defs = dg.Definitions.merge(_definitions(), dg.Definitions(jobs=[job]))
        return defs.resolve_job_def(job.name).execute_in_process(instance=self.instance, raise_on_error=False)

    def materialize(self, name: str, *assets: str) -> dg.ExecuteInProcessResult:
        """Some of the assets of a plate."""
        return self._run("convert_plate", name, {}, [dg.AssetKey(asset) for asset in assets])

    def materialize_chunks(self, name: str, first: int, last: int, *assets: str) -> dg.ExecuteInProcessResult:
        """A range of a plate's chunks in one run, as a backfill of the web UI has it."""
        keys = [f"{name}|{chunk:02d}" for chunk in (first, last)]
        tags = dict(
            zip(("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"), keys, strict=True)
        )
        return self._run("convert_chunks", None, {}, [dg.AssetKey(asset) for asset in assets], tags)

    def _run(
        self,
        job: str,
        partition: str | None,
        resources: Mapping[str, dg.ConfigurableResource],
        assets: list[dg.AssetKey] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        defs = build_defs(resources=resources) if resources else _definitions()
        return defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=partition, asset_selection=assets, tags=tags, raise_on_error=False
        )

    def last(self, asset: str, partition: str) -> dg.AssetMaterialization | None:
        """The last materialization of a partition."""
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
        records = self.instance.fetch_materializations(wanted, limit=1).records
        return records[0].asset_materialization if records else None

    def metadata(self, asset: str, partition: str) -> dict[str, Any]:
        """What the last materialization shows."""
        found = self.last(asset, partition)
        assert found is not None, f"{asset} {partition} was never materialized"
        return {name: value.value for name, value in found.metadata.items()}

    def checks(self, result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
        """A run's checks by asset and name."""
        found = result.get_asset_check_evaluations()
        return {(check.asset_key.to_user_string(), check.check_name): check for check in found}

    def outdated(self, name: str) -> dict[str, str]:
        """What the web UI marks of a plate's partitions, those aside that are up to date."""
        chunks = [f"{name}|{chunk:02d}" for chunk in range(CHUNKS)]
        found = {}
        for assets, keys in ((PLATE_ASSETS, [name]), (CHUNK_ASSETS, chunks)):
            answer = self.graphql(
                """query ($assets: [AssetKeyInput!], $keys: [String!]) {
                  assetNodes(assetKeys: $assets) { assetKey { path } staleStatusByPartition(partitions: $keys) }
                }""",
                assets=[{"path": [asset]} for asset in assets],
                keys=keys,
            )
            for node in answer["assetNodes"]:
                for key, status in zip(keys, node["staleStatusByPartition"], strict=True):
                    if status != "FRESH":
                        found[f"{node['assetKey']['path'][0]} {key}"] = status
        return found

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Data of an answer of the web server."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]


@cache
def _definitions() -> dg.Definitions:
    return build_defs(chunks=CHUNKS)


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """What the web UI says of the steps that failed, without the stacks."""
    events = [event for event in result.all_events if event.is_step_failure]
    data = [event.step_failure_data for event in events]
    return [str(d.user_failure_data.description if d.user_failure_data else d.error and d.error.message) for d in data]
