"""What the failed tries of one work item say: try again, leave out a document, or set the whole item aside."""

from __future__ import annotations

from collections import Counter

MAX_TRIES = 3
# Deaths at ever other documents are not the documents' doing (somebody kills processes, a node is out of memory), but
# no item may loop for ever: a careful try keeps nothing, so an item that is ended again and again is given up.
MAX_SCATTERED_TRIES = 10


class Tries:
    """The tries of one work item; `set_aside` {position: reason} are the documents that it goes on without."""

    def __init__(self) -> None:
        self.set_aside: dict[int, str] = {}
        self._failures: list[int | None] = []

    @property
    def careful(self) -> bool:
        """Whether the next try goes document by document: after a failure, until a document is blamed."""
        return bool(self._failures)

    def failed(self, position: int | None, reason: str) -> bool:
        """Note a failed try and the document it was on (None: on none, or nobody knows); return whether to go on.

        A document is set aside when it is the place of three failures; the fast first try, whose place nobody knows,
        counts for a document that the second and the third name. Then the count starts anew. False means that the whole
        item is to be set aside: three tries failed outside any document, or too many at different ones.
        """
        self._failures.append(position)
        places = Counter(self._failures)
        if position is not None and (places[position] == MAX_TRIES or self._failures == [None, position, position]):
            self.set_aside[position] = reason
            self._failures.clear()
            return True
        return places[None] < MAX_TRIES and len(self._failures) < MAX_SCATTERED_TRIES
