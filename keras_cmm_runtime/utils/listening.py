"""Where a server listens."""

import ipaddress
import socket

from keras_cmm_runtime.errors import InputError


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach an address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def bound_socket(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound to an address.

    Args:
        host: The name or the address.
        port: The port, 0 for any that is free.

    Raises:
        InputError: If the address cannot be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(f"`host` {host!r} is no address of this machine ({error}).") from error
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen at {host} on port {port} ({reason}); give another `--port` or `--host`."
        ) from error
    return listener
