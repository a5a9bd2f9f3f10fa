"""Requests and seconds of each look at a bucket of 100,000 objects: `python -m benchmarks.listing`.

The S3 server is moto's, in this process; a look's seconds are mostly its own.
"""

import logging
import time

from cytotable_dagster.core.intake.addresses import Pattern
from cytotable_dagster.core.intake.arrivals import Memory, look
from cytotable_dagster.core.intake.listing import listing
from cytotable_dagster.core.storage.store import Store

BATCHES, PLATES, OTHERS = 25, 100, 39
LOOKS = 8
LIMIT, SECONDS = 500, 40


def main() -> None:
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    inside = s3_backends["123456789012"]["aws"]
    inside.create_bucket("large", "us-east-1")
    for batch in range(BATCHES):
        for plate in range(PLATES):
            name = f"BR{batch:02d}{plate:03d}"
            for other in range(OTHERS):
                inside.put_object("large", f"backend/Batch{batch:02d}/{name}/{other:02d}.csv", b"x")
            inside.put_object("large", f"backend/Batch{batch:02d}/{name}/{name}.sqlite", b"SQLite format 3\0")
    host, port = server.get_host_and_port()
    cloud = {"endpoint_url": f"http://{host}:{port}", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    pattern = Pattern("s3://large/backend/{batch}/{plate}/{plate}.sqlite")
    # Old enough to count at once.
    time.sleep(61)
    memory = Memory()
    print("look  files  calls  seconds  bytes of cursor")
    for number in range(LOOKS):
        started = time.perf_counter()
        with listing(pattern, Store.checked(cloud)) as source:
            seen = look(source, pattern, memory, limit=LIMIT, seconds=SECONDS)
        memory = Memory.loaded(seen.memory.dumped())
        seconds = time.perf_counter() - started
        size = len(seen.memory.dumped())
        print(f"{number:4}  {len(seen.ready):5}  {source.calls:5}  {seconds:7.1f}  {size:15,}")
    server.stop()


if __name__ == "__main__":
    main()
