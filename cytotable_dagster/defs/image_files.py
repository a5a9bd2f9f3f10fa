"""Where the images of plates are, and which crops of cells are kept."""

import os

import dagster as dg
from pydantic import Field

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images import Search

# Cells of each well whose crops are kept: 20 of 384 wells are 0.7 GB.
_PER_WELL = 20


class ImageFiles(dg.ConfigurableResource):
    """Where images are looked for; see docs/images.md. `{plate}` in an address is the plate's name."""

    image_dir: str | None = Field(
        default=None, description="A folder or s3:// prefix with the images below it. Default: CYTOTABLE_IMAGE_DIR."
    )
    path_rules: str | None = Field(
        default=None,
        description="A TOML file: which folder of another machine is which here. Default: CYTOTABLE_PATH_RULES.",
    )
    load_data: str | None = Field(
        default=None,
        description="The address of load_data files. Default: CYTOTABLE_LOAD_DATA, else found in the gallery's layout.",
    )
    mask_dir: str | None = Field(default=None, description="As image_dir, of masks. Default: CYTOTABLE_MASK_DIR.")
    outline_dir: str | None = Field(
        default=None, description="As image_dir, of outlines. Default: CYTOTABLE_OUTLINE_DIR."
    )
    verify: str | None = Field(
        default=None, description="none, exists or md5. Default: CYTOTABLE_VERIFY_IMAGES, else exists."
    )
    per_well: str | None = Field(
        default=None,
        description="Cells of each well whose crops are kept: a number, 0 for none, or all. Default: "
        "CYTOTABLE_CROPS_PER_WELL, else 20.",
    )

    def search(self, cloud: dict[str, object]) -> Search:
        """How images are looked for, with the client of the plates.

        Raises:
            OptionError: a setting means nothing.
        """
        return Search.checked(
            image_dir=_setting(self.image_dir, "CYTOTABLE_IMAGE_DIR"),
            path_rules=_setting(self.path_rules, "CYTOTABLE_PATH_RULES"),
            load_data=_setting(self.load_data, "CYTOTABLE_LOAD_DATA"),
            mask_dir=_setting(self.mask_dir, "CYTOTABLE_MASK_DIR"),
            outline_dir=_setting(self.outline_dir, "CYTOTABLE_OUTLINE_DIR"),
            verify=_setting(self.verify, "CYTOTABLE_VERIFY_IMAGES") or "exists",
            cloud=cloud,
        )

    def crops_per_well(self) -> int | None:
        """Cells of each well whose crops are kept; 0 is none, None all."""
        text = _setting(self.per_well, "CYTOTABLE_CROPS_PER_WELL") or str(_PER_WELL)
        if text == "all":
            return None
        if not text.isdigit():
            raise OptionError(f"CYTOTABLE_CROPS_PER_WELL={text!r}: give a number of cells, 0 for none, or all")
        return int(text)


def _setting(configured: str | None, variable: str) -> str | None:
    return configured or os.environ.get(variable) or None
