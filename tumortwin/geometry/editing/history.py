"""What was changed in a mask by hand, so that every step can be undone and redone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.geometry.editing.strokes import bounding_box
from tumortwin.imaging.volume import Mask

HISTORY_BYTES = 32_000_000
"""What an :class:`Edited` may remember; the oldest steps are forgotten first."""


@dataclass(frozen=True, eq=False)
class Edit:
    """One change: which voxels of a box were turned over.

    Parameters
    ----------
    what : str
        For people: "paint".
    box : tuple of slice
        Where.
    flipped : (n,) uint8 array
        A bit for each voxel of the box.
    """

    what: str
    box: tuple[slice, slice, slice]
    flipped: NDArray[np.uint8]

    def apply(self, array: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Flip the changed voxels in a copy of an array, which makes or undoes the change."""
        changed = array.copy()
        part = changed[self.box]
        part ^= np.unpackbits(self.flipped, count=part.size).view(bool).reshape(part.shape)
        return changed

    @classmethod
    def of(cls, what: str, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Edit | None:
        """Record what differs between two arrays, or return None if nothing does."""
        flipped = before ^ after
        box = bounding_box(flipped)
        return cls(what, box, np.packbits(flipped[box])) if flipped.any() else None


@dataclass(frozen=True, eq=False)
class Edited:
    """A mask and the way it came to be. Each method gives a new value.

    Parameters
    ----------
    mask : Mask
        As it is now.
    done : tuple of Edit
        What can be undone, the oldest first.
    undone : tuple of Edit
        What can be redone, the next last.
    """

    mask: Mask
    done: tuple[Edit, ...] = ()
    undone: tuple[Edit, ...] = ()

    def changed(self, mask: Mask, what: str, *, join: bool = False) -> Edited:
        """With another mask, by a step that has a name.

        Parameters
        ----------
        mask : Mask
            On the same grid.
        what : str
            For people.
        join : bool
            Make it one step with the last one: a stroke comes in parts.

        Raises
        ------
        InputError
            If the mask is on another grid.
        """
        if not mask.grid.matches(self.mask.grid):
            raise InputError(f"the mask is on {mask.grid}, what is edited on {self.mask.grid}: resample it first")
        last = self.done[-1] if join and self.done else None
        before = self.mask.array if last is None else last.apply(self.mask.array)
        kept = self.done if last is None else self.done[:-1]
        edit = Edit.of(what, before, mask.array)
        if last is None and edit is None:
            return self
        return Edited(self.mask.with_array(mask.array), _bounded((*kept, *([edit] if edit else []))))

    def undo(self) -> Edited:
        """One step back; the same if there is none."""
        if not self.done:
            return self
        *rest, last = self.done
        return replace(
            self, mask=self.mask.with_array(last.apply(self.mask.array)), done=tuple(rest), undone=(*self.undone, last)
        )

    def redo(self) -> Edited:
        """One undone step again; the same if there is none."""
        if not self.undone:
            return self
        *rest, last = self.undone
        return replace(
            self, mask=self.mask.with_array(last.apply(self.mask.array)), done=(*self.done, last), undone=tuple(rest)
        )


def _bounded(edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """Keep the newest edits that fit into :data:`HISTORY_BYTES`, and always the last one."""
    total, first = 0, len(edits)
    for k in range(len(edits) - 1, -1, -1):
        total += edits[k].flipped.nbytes
        if total > HISTORY_BYTES and k < len(edits) - 1:
            break
        first = k
    return edits[first:]
