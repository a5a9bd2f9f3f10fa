"""The known name that somebody meant who wrote another."""

from collections.abc import Iterable

# How like a name is that somebody may have meant (`difflib`'s ratio): a far suggestion is worse than none.
_LIKE = 0.66


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a word, in any case; else the first that has it in it; None where none is."""
    import difflib

    names = {name.lower(): name for name in known}
    word = word.lower()
    close = difflib.get_close_matches(word, names, n=1, cutoff=_LIKE)
    inside = [name for name in names if len(word) > 2 and word in name]
    return names[(close or inside)[0]] if close or inside else None


def there_are(word: str, known: Iterable[str]) -> str:
    """The end of an error's line about a word that is not known: what was meant, perhaps, and what there is."""
    names = tuple(known)
    meant = nearest(word, names)
    return f"{f'did you mean {meant}? ' if meant else ''}there are: {', '.join(names) or 'none'}"
