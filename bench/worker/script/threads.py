"""The threads of a script: the main one and the one of its loop; an error ends both.

An error that a watched loader raises in another thread of the script would end only that thread: the loop would wait
for a batch until the time limit.
"""

from __future__ import annotations

import copy
import signal
import sys
import threading
from types import FrameType, TracebackType

# A signal without another use: real-time signals have no predefined meaning; macOS does not have them.
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
        if threading.current_thread() is threading.main_thread():  # only the main thread may handle signals
            self._before = signal.signal(_SIGNAL, self._raise)
            self._is_on = True
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ignores all further errors."""
        with self._lock:  # a signal that comes later would end the process
            if self._is_on:
                self._is_on = False
                signal.signal(_SIGNAL, self._before)

    def is_in_main(self) -> bool:
        return threading.get_ident() == self.main

    def is_in_loop(self) -> bool:
        return threading.get_ident() == self.loop

    def interrupt(self, error: BaseException) -> None:
        """Raises a copy of the error in the main thread as well, unless this is the main thread."""
        if self.is_in_main():
            return
        raised = copy.copy(error).with_traceback(_with_callers(error.__traceback__))
        with self._lock:
            if self._is_on:
                self._error = raised
                signal.pthread_kill(self.main, _SIGNAL)

    def _raise(self, _: int, __: FrameType | None) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def _with_callers(trace: TracebackType | None) -> TracebackType | None:
    """The traceback that an error will have after leaving all frames of this thread."""
    frame = trace.tb_frame.f_back if trace is not None else sys._getframe(2)
    while frame is not None:
        trace = TracebackType(trace, frame, frame.f_lasti, frame.f_lineno)
        frame = frame.f_back
    return trace
