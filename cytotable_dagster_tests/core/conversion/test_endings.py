"""What is said of a destination whose name ends as that of a file does."""

import pytest

from cytotable_dagster.core.conversion.place import ending_of_folder


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("o.prquet", "did you mean .parquet?"),
        ("s3://b/o.h5da", "did you mean .h5ad?"),
        ("o.csv", "files of that kind are not written here"),
        ("o.feather", "files of that kind are not written here"),
    ],
)
def test_a_folder_that_is_named_as_a_file_is_told(path, told):
    assert told in (ending_of_folder(path) or "")


@pytest.mark.parametrize("path", ["o", "o/", "o.parquet", "plate.2024", "v1.2", "out.d", "BR00126114.tables"])
def test_nothing_is_said_of_other_names(path):
    assert ending_of_folder(path) is None
