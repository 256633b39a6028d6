# SPDX-License-Identifier: Apache-2.0
"""Sockets on the loopback interface, and nowhere else."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container


HTTPS_PORT = 443


def is_loopback(address: str | None) -> bool:
    """Return whether a peer's address belongs to this machine."""
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket.

    :param host: a loopback address, or ``localhost``.
    :raises ValueError: the host is not loopback; servers here trust their neighbors.
    :raises OSError: the port is in use; the message names the address and the port.
    """
    address = "127.0.0.1" if host == "localhost" else host
    if not is_loopback(address):
        raise ValueError(f"the local MWAA listens on loopback only, not on {host}")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Not SO_REUSEPORT: a second local MWAA must find the port in use.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        # Listen now, and not when the server starts: this claims the port on every system.
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"can't listen on {address} port {port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def listen_on_https_port(taken: Container[str]) -> socket.socket | None:
    """Return a socket bound to port 443 of an unused loopback address; None if the system does not permit it.

    :param taken: addresses already in use.
    """
    for number in range(2, 255):
        address = f"127.0.0.{number}"
        if address in taken:
            continue
        try:
            return listen(address, HTTPS_PORT)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                break  # a port only for root, or an address that is not configured; the same is true of all others
    return None


def listen_apart(port: int, taken: Container[str]) -> socket.socket:
    """Return a bound socket on an unused loopback address, if the system has more than one.

    Cookies belong to a host, not to its port: two environments on one address would log each other out.

    :param taken: addresses already in use.
    :raises OSError: the given port is in use.
    """
    for number in range(2, 255):
        address = f"127.0.0.{number}"
        if address in taken:
            continue
        try:
            return listen(address, port)
        except OSError:
            if number == 2 and not _can_bind(address):
                break  # macOS: only 127.0.0.1 is configured
            if port:
                raise
    return listen("127.0.0.1", port)


def _can_bind(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
