"""The sensor that has images found of plates that were converted, however that was asked for."""

import uuid

import dagster as dg

from cytotable_dagster.defs.plates import PLATES
from cytotable_dagster.defs.sensors import images_sensor
from cytotable_dagster_tests.defs.instances import opened


def test_images_are_found_of_each_plate_once_it_is_converted_and_no_run_is_at_it():
    sensor, cursor = images_sensor(limit=2), None
    with opened(dg.DagsterInstance.ephemeral()) as instance:

        def asked() -> list[str | None]:
            nonlocal cursor
            done = sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
            assert isinstance(done, dg.SensorResult)
            cursor = done.cursor
            assert bool(done.run_requests) != bool(done.skip_reason)
            return [request.partition_key for request in done.run_requests or []]

        def made(asset: str, *names: str) -> None:
            for name in names:
                instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=name))

        assert asked() == []
        instance.add_dynamic_partitions(PLATES, ["A", "B", "C", "D", "E"])
        made("single_cells", "A", "not a plate any more", "B", "C")
        assert [asked(), asked(), asked()] == [["A"], ["B", "C"], []]
        # By hand, before the sensor looks.
        made("single_cells", "D")
        made("image_provenance", "D")
        assert asked() == []
        made("single_cells", "A", "E")
        under_way = dg.DagsterRun(
            "convert_plate", str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": "E"}
        )
        instance.add_run(under_way)
        assert [asked(), asked()] == [["A"], []]
        instance.report_run_failed(under_way)
        assert [asked(), asked()] == [["E"], []]
