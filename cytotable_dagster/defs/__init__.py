"""The Dagster side: assets, checks, jobs, sensors, schedules and resources, put together by `build`."""
