"""What one rank wishes, known to all ranks at the same step."""

from __future__ import annotations

from typing import Any

import torch


class Agreement:
    """The largest of what all ranks wish, asked for at each step and read later, so that no step waits for it.

    One device has nobody to ask: :meth:`step` gives back the wish. Between processes on CPUs one number is reduced in
    the background while a step is computed, and read before the next one (Lightning would broadcast one and wait for
    it). On GPUs this is done each eighth step, on a stream of its own, and read eight steps later: by then it has
    long been there, and nothing of the step that runs is waited for.

    All ranks call the methods equally often and in the same order.

    Args:
        device: of this rank.
        ranks: how many there are.
    """

    def __init__(self, device: torch.device, ranks: int) -> None:
        self.device, self.alone = device, ranks == 1
        self.every = 1 if device.type == "cpu" else 8
        self._steps = 0
        self._work: Any = None
        self._number = torch.zeros(1, dtype=torch.int64, device=device)
        self._read, self._stream, self._done = self._number, None, None
        if device.type == "cuda" and not self.alone:
            self._read = torch.zeros(1, dtype=torch.int64, pin_memory=True)
            self._stream, self._done = torch.cuda.Stream(device), torch.cuda.Event()  # type: ignore[no-untyped-call]

    def step(self, wish: int) -> int:
        """Say what this rank wishes, at the same place of each rank's training.

        Args:
            wish: 0 for nothing; the larger, the more urgent.

        Returns:
            The largest of the wishes at an earlier step, the same on all ranks.
        """
        if self.alone:
            return wish
        self._steps += 1
        if self._steps % self.every:
            return 0
        answer = self.finish()
        self._ask(wish)
        return answer

    def now(self, wish: int) -> int:
        """The largest of what the ranks wish now; waits for all of them."""
        if self.alone:
            return wish
        earlier = self.finish()
        self._ask(wish)
        return max(earlier, self.finish())

    def finish(self) -> int:
        """Wait for the answer that is under way; 0 where none is."""
        if self._work is None:
            return 0
        if self._done is None:
            self._work.wait()
        else:
            self._done.synchronize()
        self._work = None
        return int(self._read)

    def _ask(self, wish: int) -> None:
        self._number.fill_(wish)
        self._work = torch.distributed.all_reduce(self._number, op=torch.distributed.ReduceOp.MAX, async_op=True)
        if self._stream is not None and self._done is not None:
            with torch.cuda.stream(self._stream):
                self._work.wait()  # the stream waits, not this process
                self._read.copy_(self._number, non_blocking=True)
                self._done.record(self._stream)
