"""The threads of a script: the main one, the one that its loop runs in, and how an error ends both.

An error that a watched loader raises in another thread of the script ends that thread alone: the loop would wait until
the time limit for a batch that never comes.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

# Not used by anybody else: real-time signals have no meaning of their own, and macOS has none.
_SIGNAL = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else signal.SIGUSR2


class ScriptThreads:
    """Entered by the main thread of a script; `interrupt` raises errors of other threads there."""

    def __init__(self) -> None:
        self.main = threading.get_ident()
        self.loop = 0  # the thread that the loop runs in; 0 before it begins
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._is_on = False

    def __enter__(self) -> ScriptThreads:
        self.main = threading.get_ident()
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            self._before = signal.signal(_SIGNAL, self._raise)
            self._is_on = True
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ignores errors from now on."""
        with self._lock:  # a signal that comes later would end the process
            if self._is_on:
                self._is_on = False
                signal.signal(_SIGNAL, self._before)

    def is_in_main(self) -> bool:
        return threading.get_ident() == self.main

    def is_in_loop(self) -> bool:
        return threading.get_ident() == self.loop

    def interrupt(self, error: BaseException) -> None:
        """Raises the error in the main thread as well, if this is another."""
        if self.is_in_main():
            return
        with self._lock:
            if self._is_on:
                self._error = error
                signal.pthread_kill(self.main, _SIGNAL)

    def _raise(self, _: int, __: FrameType | None) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
