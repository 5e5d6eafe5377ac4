"""Logs a thousand users in through several web servers, restarts those, and finds everyone still logged in.

usage: logins.py <folder of a Flask application> [users]

MEMCACHED_SERVER names the server that keeps the sessions. Each user must be greeted by their own name, by whichever web
server; half of them log out, and both halves are looked at again. The exit status tells.
"""

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from web import Browser, WebServer

WEB_SERVERS = 3


def start(folder):
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:{port}", "app:app"]
    return [WebServer(command, folder) for _ in range(WEB_SERVERS)]


def main():
    folder = Path(sys.argv[1]).resolve()
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    users = {f"user {number} \u00fc": Browser() for number in range(count)}
    servers = start(folder)
    try:
        with ThreadPoolExecutor(8) as pool:

            def everyone(task, names):
                return sum(pool.map(task, names))

            def log_in(name):
                status, _ = users[name].request(random.choice(servers), "POST", "/login", {"username": name})
                return status == 302

            def log_out(name):
                status, _ = users[name].request(random.choice(servers), "GET", "/logout")
                return status == 302

            def is_known(name):
                return users[name].request(random.choice(servers), "GET", "/") == (200, f"Logged in as {name}")

            def is_unknown(name):
                return users[name].request(random.choice(servers), "GET", "/") == (200, "You are not logged in")

            names = list(users)
            leaving, staying = names[::2], names[1::2]
            results = [
                ("logged in", everyone(log_in, names), count),
                ("greeted by their own name", everyone(is_known, names), count),
            ]
            # Cookies of those who left are kept, to see that the session itself is gone.
            for server in servers:
                server.stop()
            servers[:] = start(folder)
            results.append(("still logged in after the web servers restarted", everyone(is_known, names), count))
            kept = {name: dict(users[name].cookies) for name in leaving}
            results.append(("logged out", everyone(log_out, leaving), len(leaving)))
            for name, cookies in kept.items():
                users[name].cookies = cookies
            results.append(("stay logged out, with their old cookies too", everyone(is_unknown, leaving), len(leaving)))
            results.append(("of the others still logged in", everyone(is_known, staying), len(staying)))
    finally:
        for server in servers:
            server.stop()
    for what, number, expected in results:
        print(f"  {number} of {expected} {what}")
    sys.exit(any(number != expected for _, number, expected in results))


main()
