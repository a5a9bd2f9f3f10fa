"""What the converter's messages call by the library's parameters, in the words of Dagster: the settings."""

import ast

from cytotable_dagster.core.support.parameters import reworded

_SETTINGS = {
    name: f"CYTOTABLE_{name.upper()}"
    for name in (
        *("cache_limit", "decimal", "delimiter", "encoding", "endpoint_url", "equal_sites", "image_dir", "load_data"),
        *("mask_dir", "names", "no_sign_request", "outline_dir", "path_rules", "plate_pattern", "preset"),
        *("site_pattern", "unmatched"),
    )
} | {
    "dest_path": "CYTOTABLE_LAKE",
    "local_cache_dir": "CYTOTABLE_CACHE",
    "per_well": "CYTOTABLE_CROPS_PER_WELL",
    "verify": "CYTOTABLE_VERIFY_IMAGES",
}
_VARIABLES = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "profile_name": "AWS_PROFILE",
}
# What no setting says, and a preset of one's own or a call of the library does.
_PRESET = ("compartments", "identifying_columns", "metadata")
_LIBRARY = (
    *("add_tablenumber", "around", "bbox_column_map", "chunk_size", "column_map", "concat", "data_type_cast_map"),
    *(
        "dest_backend",
        "dest_datatype",
        "dtype",
        "include_source_images",
        "join",
        "joins",
        "limit",
        "on_error",
        "overwrite",
        "parsl_config",
        "provenance",
        "schema",
    ),
    *("segmentation_file_regex", "size", "source_datatype", "source_path", "strict", "targets", "where"),
)


def in_dagster(message: str) -> str:
    """A message that names parameters of the library, with the settings instead."""
    return reworded(message, _word)


def _word(name: str, value: str) -> str | None:
    setting = _SETTINGS.get(name) or _VARIABLES.get(name)
    if setting is not None:
        return f"{setting}={_typed(value)}" if value else setting
    told = f"{name}={value}"
    return f"{told} of a preset" if name in _PRESET else f"{told} of the library" if name in _LIBRARY else None


def _typed(value: str) -> str:
    """A value of Python's as a variable has it."""
    if value == "...":
        return value
    found = ast.literal_eval(value)
    return str(int(found) if isinstance(found, bool) else found)
