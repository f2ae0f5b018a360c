"""Deny every socket but loopback and AF_UNIX, in this process and in every Python process that it starts.

Python imports this file by itself where its folder is on PYTHONPATH; so worker processes, spawned or forked, are held
to it too. What was tried is added to the file that SOCKET_LOG names, because a library may swallow the error.
"""

import os
import sys

LOCAL_HOSTS = frozenset({"localhost", "ip6-localhost", "127.0.0.1", "::1", "0.0.0.0", "::", ""})


def deny(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"):
        address = arguments[1]
        # A text or bytes address is AF_UNIX; None is a socket that was connected before.
        if address is None or isinstance(address, (str, bytes)):
            return
        host = address[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or not isinstance(name, str) or name in LOCAL_HOSTS or name.startswith("127."):
        return
    log = os.environ.get("SOCKET_LOG")
    if log:
        with open(log, "a", encoding="utf-8") as file:  # noqa: PTH123  (pathlib would cost every process its import)
            file.write(f"{event} {name} pid {os.getpid()}\n")
    raise PermissionError(f"the tests run without a network, and this asked for {name} ({event})")


if os.environ.get("SOCKETS") == "loopback only":
    sys.addaudithook(deny)
