"""`python client.py SOCKET SCRIPT ARGS...`: make a fork of the server in `prefork.py` run a script.

Ray starts this client once per worker, so it imports little. It does not wait for the worker, which registers with Ray.
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
