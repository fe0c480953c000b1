"""Messages between the worker and the ranks: JSON and arrays, on a socket. No torch, no pickle."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

Arrays = Mapping[str, NDArray[Any]]
Message = tuple[dict[str, Any], dict[str, NDArray[Any]]]
_SIZES = struct.Struct("!QQ")  # bytes of the JSON, and of the arrays as safetensors has them


def send(
    connection: socket.socket, content: Mapping[str, Any], arrays: Arrays | None = None
) -> None:
    """Send one message; returns when the system has taken it."""
    text = json.dumps(content).encode()
    packed = b""
    if arrays:  # in C order: safetensors writes the memory as it is
        packed = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    connection.sendall(_SIZES.pack(len(text), len(packed)) + text + packed)


def receive(connection: socket.socket) -> Message | None:
    """Return the next message, or None if the other side has gone."""
    head = _exactly(connection, _SIZES.size)
    if head is None:
        return None
    length, packed = _SIZES.unpack(head)
    text, arrays = _exactly(connection, length), _exactly(connection, packed)
    if text is None or arrays is None:
        return None
    return json.loads(text), load(bytes(arrays)) if packed else {}


def _exactly(connection: socket.socket, size: int) -> bytearray | None:
    """Return ``size`` bytes, or None if the other side goes before."""
    content = bytearray()
    while len(content) < size:
        try:
            piece = connection.recv(min(size - len(content), 1 << 20))
        except ConnectionError:
            return None
        if not piece:
            return None
        content += piece
    return content
