"""What the nodes of a syntax tree have in common.

The nodes are msgspec structs: some two hundred dataclasses would take a fifth of a second to make at every
start, and each node three times as long to create.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

import msgspec

_POSITION: Final = frozenset({"pos", "end", "line"})

N = TypeVar("N", bound="Node")


@dataclass_transform(frozen_default=True)
class Node(msgspec.Struct, frozen=True, eq=False):
    """A node; its places in the text (``pos``, ``end``, ``line``) don't count in comparisons."""

    secret: ClassVar[frozenset[str]] = frozenset()
    """Fields that no log may show."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _compared(type(self)))

    def __hash__(self) -> int:
        kind = type(self)
        return hash((kind, *[getattr(self, name) for name in _compared(kind)]))

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if name not in self.secret]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__qualname__}({shown})"


def field_names(node: Node | type[Node]) -> tuple[str, ...]:
    """The names of a node's fields, positions among them."""
    return node.__struct_fields__


def replace(node: N, **changes: Any) -> N:
    """A copy with other values in the fields named. Raises TypeError for a name that no field has."""
    return msgspec.structs.replace(node, **changes)


@lru_cache(maxsize=512)
def _compared(kind: type[Node]) -> tuple[str, ...]:
    return tuple(name for name in kind.__struct_fields__ if name not in _POSITION)
