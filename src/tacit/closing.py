"""Closing what writes, at the end of a `with` block that may have failed itself."""

from __future__ import annotations

from collections.abc import Callable


def close_after(error: BaseException | None, close: Callable[[], None], what: str) -> None:
    """Close; an error that ended the block comes first, and carries what closing met with as a note.

    Args:
        error: What ended the block, or None.
        close: May fail.
        what: A person's word for what is closed.

    Raises:
        Exception: Whatever closing raises, where the block was in good order.
    """
    if error is None:
        close()
        return
    try:
        close()
    except Exception as fault:  # noqa: BLE001 (it goes on as a note)
        if fault is not error:
            error.add_note(f"the {what} also failed: {fault}")
