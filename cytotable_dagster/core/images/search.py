"""Where the files of a plate's images are looked for, as the user says it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images.rules import Rule, rules_of

NONE, EXISTS, MD5 = "none", "exists", "md5"
VERIFY = (NONE, EXISTS, MD5)

Rules = str | Path | Sequence[Mapping[str, str]] | None


@dataclass(frozen=True)
class Search:
    """`{plate}` in an address is the plate's name. `verify` is one of VERIFY."""

    image_dir: str | None = None
    mask_dir: str | None = None
    outline_dir: str | None = None
    segmentation_file_regex: tuple[tuple[str, str], ...] = ()
    rules: tuple[Rule, ...] = ()
    load_data: str | None = None
    verify: str = EXISTS
    cloud: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def checked(
        cls,
        *,
        image_dir: str | Path | None = None,
        mask_dir: str | Path | None = None,
        outline_dir: str | Path | None = None,
        segmentation_file_regex: Mapping[str, str] | None = None,
        path_rules: Rules = None,
        load_data: str | Path | None = None,
        verify: str = EXISTS,
        cloud: Mapping[str, Any] | None = None,
    ) -> "Search":
        """A search whose options were looked through.

        Args:
            image_dir: a folder or prefix that holds the images, below it in any folders.
            mask_dir: the same of segmentation masks, one called as its image, or by `segmentation_file_regex`.
            outline_dir: the same of outlines.
            segmentation_file_regex: pattern of a mask's or outline's name -> pattern of its image's name, whose groups
                (else the whole name) stand in it.
            path_rules: see `rules`.
            load_data: a load_data file.
            verify: whether nothing is looked at, whether files exist, or whether they are what was measured.
            cloud: options of the S3 client.

        Raises:
            OptionError: one of them means nothing.
        """
        if verify not in VERIFY:
            raise OptionError(f"verify {verify!r} is not known; there are: {', '.join(VERIFY)}")
        pairs = tuple((segmentation_file_regex or {}).items())
        for pattern in (pattern for pair in pairs for pattern in pair):
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                raise OptionError(f"segmentation_file_regex: {pattern!r} is no regular expression ({error})") from error
        if pairs and mask_dir is None and outline_dir is None:
            raise OptionError(
                "segmentation_file_regex needs mask_dir= or outline_dir=, the folder of the files it names"
            )
        return cls(
            image_dir=_text(image_dir),
            mask_dir=_text(mask_dir),
            outline_dir=_text(outline_dir),
            segmentation_file_regex=pairs,
            rules=rules_of(path_rules),
            load_data=_text(load_data),
            verify=verify,
            cloud=dict(cloud or {}),
        )

    @classmethod
    def asked_for(cls, wanted: bool, *, verify: str | None = None, **options: Any) -> "Search | None":
        """A search where provenance is wanted, None where it is not.

        Raises:
            OptionError: it is not, and there are options for it.
        """
        given = {name: value for name, value in {**options, "verify": verify}.items() if value is not None}
        if wanted:
            return cls.checked(**given)
        if named := sorted(given.keys() - {"cloud"}):
            raise OptionError(f"{named[0]}= says where images are, for provenance=True, which was not given")
        return None

    def of_plate(self, address: str | None, plate: str) -> str | None:
        """An address with the plate's name in it."""
        return None if address is None else address.replace("{plate}", plate)


def _text(place: str | Path | None) -> str | None:
    return None if place is None else str(place)
