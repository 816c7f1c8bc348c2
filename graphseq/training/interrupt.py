"""Ctrl-C and SIGTERM, held back until the run has reached a place where it can be saved."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn


class Interrupt:
    """Notes SIGINT and SIGTERM inside a ``with`` block instead of dying on the spot.

    The block asks :attr:`signal` at its own good moments and calls :meth:`leave`; at the latest,
    the signal has its way when the block ends. A second signal does not wait. Outside the main
    thread Python delivers no signals, and nothing is changed.

    Args:
        enabled: ``False`` changes nothing.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.signal = 0
        self._enabled = enabled
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if self._enabled and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            # None stands for a handler that was not set from Python and cannot be named.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self.signal and kind is None:
            self.leave(self.signal)  # it came after the last good moment

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            self.leave(number)
        self.signal = number

    @staticmethod
    def leave(number: int) -> NoReturn:
        """End the process as the signal would have: KeyboardInterrupt, or exit code 128 + n."""
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)
