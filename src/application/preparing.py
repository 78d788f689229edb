"""Reference images and a mask as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from application.ports.images import ImageEditor
from application.ports.providers import Picture, ReferenceRules


@dataclass(frozen=True)
class Enclosed:
    """What goes along with a prompt: references in their order, and a mask for the first."""

    references: tuple[Picture, ...] = ()
    mask: Picture | None = None


class Preparing:
    """Fits what goes along with a prompt to a model's rules, before anything leaves us."""

    def __init__(self, editor: ImageEditor) -> None:
        self._editor = editor

    async def for_model(self, enclosed: Enclosed, rules: ReferenceRules | None) -> Enclosed:
        """Each reference by the rules, all together by theirs, the mask as large as the first.

        Raises NotAnImageError for one that cannot be read, or not be made small enough.
        """
        if rules is None or not enclosed.references:
            return Enclosed()
        prepared = [await self._editor.prepared(one, rules) for one in enclosed.references]
        most = share([len(one.data) for one in prepared], rules.max_bytes_together)
        for number, one in enumerate(prepared):
            if len(one.data) > most:
                tighter = replace(rules, max_bytes=most)
                prepared[number] = await self._editor.prepared(enclosed.references[number], tighter)
        mask = enclosed.mask and await self._editor.prepared_mask(enclosed.mask, prepared[0])
        return Enclosed(tuple(prepared), mask)


def share(sizes: Sequence[int], together: int) -> int:
    """The most that each may have so that all fit: what small ones do not need goes to others."""
    left = together
    for others, size in zip(range(len(sizes), 0, -1), sorted(sizes), strict=True):
        if size * others > left:
            return left // others
        left -= size
    return max(sizes, default=together)
