"""`python client.py SOCKET SCRIPT ARGS...`: have a fork of the server in `prefork.py` run a script in our place.

Ray starts this once for every worker, so it imports little. It does not wait: a worker makes itself known to Ray.
"""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
    connection.connect(sys.argv[1])
    request = {"arguments": sys.argv[2:], "environment": dict(os.environ), "folder": os.getcwd()}
    text = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(connection, [text], [0, 1, 2])
    if sent < len(text):
        connection.sendall(text[sent:])
