"""What the drivers share: web servers as processes, and browsers that keep cookies and connections."""

import http.client
import os
import signal
import socket
import subprocess
import time
import urllib.parse


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class WebServer:
    """One web server process (and its workers) on a port of its own."""

    def __init__(self, command, folder, environment=None, port=None):
        """`command` is given the port in place of `{port}`."""
        self.port = port or free_port()
        self.process = subprocess.Popen(
            [word.replace("{port}", str(self.port)) for word in command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{command} does not come up")

    def stop(self):
        # The whole group: PHP's own server leaves its workers behind when only the first process is told.
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)


class Browser:
    """One user: cookies, no matter which web server answers."""

    def __init__(self):
        self.cookies = {}

    def request(self, server, method, path, form=None):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        try:
            body = urllib.parse.urlencode(form) if form else None
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
            if body:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
            for cookie in response.headers.get_all("Set-Cookie") or []:
                name, _, value = cookie.split(";")[0].partition("=")
                if value and "Max-Age=0" not in cookie:
                    self.cookies[name] = value
                else:
                    self.cookies.pop(name, None)
            return response.status, text
        finally:
            connection.close()
