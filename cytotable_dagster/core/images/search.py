"""Where the files of a plate's images are looked for, as the user says it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images.rules import Rule, rules_of
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.model.choices import EXISTS, VERIFY
from cytotable_dagster.core.support.arguments import address_in, mapping_in
from cytotable_dagster.core.support.suggestions import there_are

_REGEX = r"{r'(.*)_mask\.png': r'\1\.tiff'}"

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
    cache: Cache = field(default_factory=Cache)

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
        cache: Cache | None = None,
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
            cache: where copies are kept of what is in stores; None is where this user's are.

        Raises:
            OptionError: one of them means nothing.
        """
        if verify not in VERIFY:
            raise OptionError(f"verify {verify!r} is not known; {there_are(str(verify), VERIFY)}")
        pairs = tuple(mapping_in("segmentation_file_regex", segmentation_file_regex, _REGEX).items())
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
            image_dir=_address("image_dir", image_dir),
            mask_dir=_address("mask_dir", mask_dir),
            outline_dir=_address("outline_dir", outline_dir),
            segmentation_file_regex=pairs,
            rules=rules_of(path_rules),
            load_data=_address("load_data", load_data),
            verify=verify,
            cache=cache or Cache(),
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
        if named := sorted(given.keys() - {"cache"}):
            raise OptionError(f"{named[0]}= says where images are, for provenance=True, which was not given")
        return None

    @property
    def says_where(self) -> bool:
        """Whether it names any place."""
        return any((self.image_dir, self.rules, self.load_data))

    def at_plate(self, plate: str) -> "Search":
        """The same with the plate's name in its addresses."""
        return replace(
            self,
            image_dir=self.of_plate(self.image_dir, plate),
            mask_dir=self.of_plate(self.mask_dir, plate),
            outline_dir=self.of_plate(self.outline_dir, plate),
            load_data=self.of_plate(self.load_data, plate),
        )

    def of_plate(self, address: str | None, plate: str) -> str | None:
        """An address with the plate's name in it."""
        return None if address is None else address.replace("{plate}", plate)


def _address(option: str, place: str | Path | None) -> str | None:
    return None if place is None else address_in(option, place)
