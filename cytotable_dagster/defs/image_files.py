"""Where the images of plates are, and which crops of cells are kept."""

import dagster as dg
from pydantic import Field

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images import Search
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.defs.settings import setting

# Cells of each well whose crops are kept: 20 of 384 wells are 0.7 GB.
_PER_WELL = 20


class ImageFiles(dg.ConfigurableResource):
    """Where images are looked for; see docs/images.md. `{plate}` in an address is the plate's name."""

    image_dir: str | None = Field(
        default=None,
        description="A folder or a store's prefix with the images below it. Default: CYTOTABLE_IMAGE_DIR.",
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

    def search(self, cache: Cache) -> Search:
        """How images are looked for, in the stores of the plates.

        Raises:
            OptionError: a setting means nothing.
        """
        return Search.checked(
            image_dir=setting(self.image_dir, "CYTOTABLE_IMAGE_DIR"),
            path_rules=setting(self.path_rules, "CYTOTABLE_PATH_RULES"),
            load_data=setting(self.load_data, "CYTOTABLE_LOAD_DATA"),
            mask_dir=setting(self.mask_dir, "CYTOTABLE_MASK_DIR"),
            outline_dir=setting(self.outline_dir, "CYTOTABLE_OUTLINE_DIR"),
            verify=setting(self.verify, "CYTOTABLE_VERIFY_IMAGES") or "exists",
            cache=cache,
        )

    def crops_per_well(self) -> int | None:
        """Cells of each well whose crops are kept; 0 is none, None all."""
        text = setting(self.per_well, "CYTOTABLE_CROPS_PER_WELL") or str(_PER_WELL)
        if text == "all":
            return None
        if not text.isdigit():
            raise OptionError(f"CYTOTABLE_CROPS_PER_WELL={text!r}: give a number of cells, 0 for none, or all")
        return int(text)
