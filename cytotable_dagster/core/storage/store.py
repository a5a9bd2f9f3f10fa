"""How stores are spoken to: what their clients need to be told, as a value that is handed down from the doors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from threading import Lock
from typing import Any, cast

from cytotable_dagster.core.storage.address import PROVIDERS, place_of, scheme_of
from cytotable_dagster.core.storage.objects import Client, Patience, Provider, Remote, names_in, objects_below
from cytotable_dagster.core.support.arguments import mapping_in
from cytotable_dagster.core.support.suggestions import nearest

# Options that a client is given with, and that are of the copies on this machine (see `intake.cache_place`).
OF_COPIES = ("local_cache_dir", "cache_limit")


def check_keywords(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """See that what a function was given beside its own arguments is an option of stores or of copies.

    Raises:
        TypeError: one is not; the message names it, and the argument that may have been meant.
    """
    if all(name in OF_COPIES for name in given):
        return
    known = _known_options()
    for name in given:
        if name not in known:
            called = getattr(function, "__name__", "")
            own = [one.name for one in signature(function).parameters.values() if one.kind is not one.VAR_KEYWORD]
            meant = nearest(name, (*own, *known))
            more = f"did you mean {meant}?" if meant else f"help({called}) lists those there are"
            raise TypeError(f"{called}() has no argument {name}; {more}")


def _known_options() -> tuple[str, ...]:
    """All options that clients and copies take. Loads the clients, which takes a second."""
    return (
        *dict.fromkeys((*(name for scheme in PROVIDERS for name in _provider(scheme).known_options()), *OF_COPIES)),
    )


@dataclass(frozen=True)
class Store:
    """Options of the clients of stores, by name. Which store it is says an address, and each takes those that it knows.
    Made by `checked`, picklable, and not shown, as there are passwords among them."""

    given: tuple[tuple[str, Any], ...] = field(default=(), repr=False)

    @classmethod
    def checked(cls, options: Mapping[str, Any] | None) -> "Store":
        """The options as a user gives them; those of copies are none of the store's.

        Raises:
            TypeError: an option that no client knows; the message names it.
        """
        options = mapping_in("cloud", options, "{'profile_name': 'lab'}")
        # Clients, which take a second to import, are asked where an option is theirs.
        if all(name in OF_COPIES for name in options):
            return cls()
        known = _known_options()
        for name in options:
            if name not in known:
                raise TypeError(f"unexpected keyword argument {name!r}; those of stores are: {', '.join(known)}")
        return cls(tuple((name, value) for name, value in sorted(options.items()) if name not in OF_COPIES))

    @property
    def options(self) -> dict[str, Any]:
        """The options, by name."""
        return dict(self.given)

    def client(self, address: str, patience: Patience | None = None, *, writing: bool = False) -> Client:
        """A client of the store that an address is of; no call is made.

        Raises:
            OptionError: that store is not known, or an option means nothing.
        """
        place_of(address)
        provider = _provider(scheme_of(address))
        known = provider.known_options()
        options = {name: value for name, value in self.given if name in known}
        return provider.connect(address, options, patience or Patience(), writing=writing)

    def names_in(self, uri: str) -> list[str]:
        """Addresses of what lies directly under a prefix; see `objects.names_in`."""
        return names_in(self.client(uri), uri)

    def objects_below(self, uri: str) -> list[Remote]:
        """Every object under a prefix; see `objects.objects_below`."""
        return objects_below(self.client(uri), uri)

    def to_write(self, own: Mapping[str, Any] | None = None) -> "Store":
        """The store that results go to: by options of its own, else by these.

        What is public to read is seldom open to write, so that requests are signed even where those to read are not.
        """
        if own is not None:
            return Store.checked(mapping_in("dest_cloud", own, "{'profile_name': 'lab'}"))
        return Store(tuple((name, value) for name, value in self.given if name != "no_sign_request"))


class Clients:
    """Clients of a store's addresses, made when they are first asked for, for all threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[str, Client] = {}
        self._lock = Lock()

    def of(self, address: str) -> Client:
        """The client for an address; see `Store.client`."""
        with self._lock:
            scheme = scheme_of(address)
            if scheme not in self._made:
                self._made[scheme] = self._store.client(address)
            return self._made[scheme]


def _provider(scheme: str) -> Provider:
    return cast(Provider, import_module(f"{__package__}.{PROVIDERS[scheme]}"))
