#!/usr/bin/env python3
"""Exits with 0 if the Kafka broker on a loopback port serves metadata that lists a broker and a controller.

usage: ready.py PORT

The port of a broker opens before the broker is ready, so a successful connect proves nothing.
"""

import socket
import struct
import sys

METADATA, VERSION, CLIENT = 3, 1, b"ready"


def receive(connection, length):
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise ConnectionError("the broker closed the connection")
        data += part
    return data


def broker_and_controller(reply):
    """Returns the number of brokers and the controller's id from a Metadata response of version 1."""
    (brokers,) = struct.unpack_from(">i", reply, 4)
    at = 8
    for _ in range(brokers):
        (host,) = struct.unpack_from(">h", reply, at + 4)
        at += 4 + 2 + host + 4
        (rack,) = struct.unpack_from(">h", reply, at)
        at += 2 + max(rack, 0)
    (controller,) = struct.unpack_from(">i", reply, at)
    return brokers, controller


def main():
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5) as connection:
        header = struct.pack(">hhih", METADATA, VERSION, 1, len(CLIENT)) + CLIENT
        request = header + struct.pack(">i", 0)  # no topics
        connection.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", receive(connection, 4))
        brokers, controller = broker_and_controller(receive(connection, length))
    if brokers < 1 or controller < 0:
        sys.exit(f"the broker lists {brokers} brokers and the controller {controller}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, struct.error) as error:
        sys.exit(f"no answer: {error}")
