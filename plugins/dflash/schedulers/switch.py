"""When a better block size is taken: it must win several times in a row, and a pause follows."""

from __future__ import annotations

from ..options import DFlashOptions


class Switch:
    """The block size in use, and the streak and cooldown that guard it.

    Attributes:
        current: the block size in use; the largest at first.
    """

    def __init__(self, options: DFlashOptions) -> None:
        self._sizes = options.candidate_block_sizes
        self._required, self._cooldown = options.required_streak, options.cooldown_cycles
        self.current = self._sizes[-1]
        self._pending, self._streak, self._pause = self.current, 0, 0

    def is_cooling(self) -> bool:
        """Whether no switch may follow in this cycle; each call is a cycle of the pause."""
        if self._pause == 0:
            return False
        self._pause -= 1
        return True

    def keep(self) -> None:
        """No other block size won."""
        self._pending, self._streak = self.current, 0

    def vote(self, size: int) -> None:
        """Let a block size win once; it is taken when it has won often enough in a row."""
        if size == self.current:
            self.keep()
            return
        self._streak = self._streak + 1 if size == self._pending else 1
        self._pending = size
        if self._streak >= self._required:
            self._take(size)
            self._streak = 0

    def step_down(self) -> None:
        """Take the next smaller block size at once, where there is one."""
        at = self._sizes.index(self.current)
        if at > 0:
            self._take(self._sizes[at - 1])
            self.keep()

    def _take(self, size: int) -> None:
        self.current, self._pause = size, self._cooldown
