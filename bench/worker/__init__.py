"""The child process: the only wing that touches a device or runs user code."""
