"""The thread that a script runs in, and what ends it from another.

An error that a watched loader raises in a thread of the script's own ends that thread alone: the loop would wait
until the time limit for a batch that never comes.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

# One that nobody else uses: real-time signals have no meaning of their own, and macOS has none.
_SIGNAL = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else signal.SIGUSR2


class Home:
    """While it is entered, by the thread of the script, `interrupt` raises there what another thread gives it."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._is_on = False

    def __enter__(self) -> Home:
        self.thread = threading.get_ident()
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            self._before = signal.signal(_SIGNAL, self._raise)
            self._is_on = True
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """What comes from now on is not heard."""
        with self._lock:  # a signal that comes later would end the process
            if self._is_on:
                self._is_on = False
                signal.signal(_SIGNAL, self._before)

    def interrupt(self, error: BaseException) -> None:
        """Raises the error in the thread of the script as well, if this is another."""
        if threading.get_ident() == self.thread:
            return
        with self._lock:
            if self._is_on:
                self._error = error
                signal.pthread_kill(self.thread, _SIGNAL)

    def _raise(self, _: int, __: FrameType | None) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
