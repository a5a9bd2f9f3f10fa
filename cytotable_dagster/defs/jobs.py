"""Jobs: a plate from source to single cells in one run, and single chunks again."""

import dagster as dg

from cytotable_dagster.defs.assets.common import CHUNK_GROUP, DATASET_GROUP, IMAGE_GROUP, PLATE_SQLITE, TABLE_GROUP

convert_plate = dg.define_asset_job(
    "convert_plate",
    selection=dg.AssetSelection.assets(PLATE_SQLITE) | dg.AssetSelection.groups(TABLE_GROUP),
    description="A plate from its source to single cells, in one run; what is there already is not made again.",
)

build_datasets = dg.define_asset_job(
    "build_datasets",
    selection=dg.AssetSelection.groups(DATASET_GROUP),
    description="The tables of all plates brought up to the plates: what is new is put in, what is gone taken out.",
)

find_images = dg.define_asset_job(
    "find_images",
    selection=dg.AssetSelection.groups(IMAGE_GROUP),
    description="The images of a plate that is converted: where they are, and pictures and crops of its cells.",
)

convert_chunks = dg.define_asset_job(
    "convert_chunks",
    selection=dg.AssetSelection.groups(CHUNK_GROUP),
    description="Chunks of a plate that is known already, made again; then run convert_plate for what depends on them.",
)
