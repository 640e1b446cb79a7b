"""The worker process: the only package that touches a device or runs user code."""
