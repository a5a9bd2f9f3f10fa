"""Whether a plate is the one that a dataset has by its name."""

from collections.abc import Iterable

from cytotable_dagster.core.datasets.members import Member
from cytotable_dagster.core.errors import PlateExistsError
from cytotable_dagster.core.model.types import Source
from cytotable_dagster.core.sources.identity import content_digest, known_by_content
from cytotable_dagster.core.storage.address import is_remote


def check_origin(source: Source, members: Iterable[Member], where: str) -> None:
    """Refuse a source that lies elsewhere than the one that a plate's files were made of, and has another content.

    Args:
        members: the plate's files in the dataset.
        where: what the error calls the dataset.

    Raises:
        PlateExistsError: it may be another plate of the same name.
    """
    for member in members:
        facts = member.content.facts
        other = facts.get("source_uri", source.uri)
        if other == source.uri:
            continue
        if source.digest is None and not is_remote(source.uri):
            source = known_by_content(source, content_digest(source.path))
        same = (facts.get("source_etag"), source.etag), (facts.get("source_digest"), source.digest)
        if not any(one is not None and one == own for one, own in same):
            raise PlateExistsError(
                f"{where}: has a plate {source.plate} already, made of {other}, and {source.uri} is another source; "
                "give it another name, or overwrite=True replaces the plate that is there"
            )
