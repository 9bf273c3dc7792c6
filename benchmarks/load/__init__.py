"""The load generator: many WebSocket clients in one process, on epoll, as lean as Python goes.

It shares nothing with the project or with a WebSocket library, so that it measures the server and not itself. It
runs as ``python -m benchmarks.load``, reads a specification (JSON) from its standard input and writes the result.
"""
