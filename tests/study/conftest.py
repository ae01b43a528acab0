"""What the study's tests share: a web server that answers as it is told."""

import socketserver
import threading

import pytest


@pytest.fixture
def serve(nothing_cached):
    """`serve(answer)`: an address on this machine that gives these bytes, and the list of what was asked of it.

    None as the answer is a server that accepts the connection and says nothing.
    """
    servers, closing = [], threading.Event()

    def start(answer):
        asked = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                asked.append(self.rfile.readline())
                while self.rfile.readline().strip():
                    pass
                if answer is None:
                    closing.wait()
                else:
                    self.wfile.write(answer)

        servers.append(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}/", asked

    yield start
    closing.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def whole_answer():
    """`whole_answer(body)`: the bytes of a good HTTP answer."""
    return lambda body: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
