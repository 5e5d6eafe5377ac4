"""Drives the PHP application: logins, concurrent requests of one session (locking), logout. Twice: with the session handler's
defaults, which are the binary protocol and locking, and in the text protocol.

usage: drive.py
MEMCACHED_SERVER names the server that keeps the sessions.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from web import Browser, WebServer

SETTINGS = {
    "session.save_handler": "memcached",
    "session.save_path": os.environ["MEMCACHED_SERVER"],
    "memcached.sess_lock_wait_min": "5",
    "memcached.sess_lock_wait_max": "20",
    "memcached.sess_lock_retries": "1000",
}
BINARY = {"memcached.sess_prefix": "php.binary."}
TEXT = {"memcached.sess_prefix": "php.text.", "memcached.sess_binary_protocol": "0", "memcached.sess_locking": "1"}
USERS = 50
COUNTS = 8


def drive(protocol, settings):
    """Whether everything came out right."""
    command = ["php"]
    for name, value in {**SETTINGS, **settings}.items():
        command += ["-d", f"{name}={value}"]
    command += ["-S", "127.0.0.1:{port}", "index.php"]
    folder = Path(__file__).resolve().parent
    servers = [WebServer(command, folder, {"PHP_CLI_SERVER_WORKERS": "4"}) for _ in range(2)]
    try:
        users = {f"user{number}": Browser() for number in range(USERS)}
        failed = 0
        with ThreadPoolExecutor(8) as pool:
            for name, browser in users.items():
                failed += browser.request(servers[0], "POST", "/login", {"username": name}) != (200, "welcome")

            def count(job):
                name, number = job
                return users[name].request(servers[number % 2], "GET", "/count")[0] != 200

            jobs = [(name, number) for name in users for number in range(COUNTS)]
            failed += sum(pool.map(count, jobs))
        right = sum(
            browser.request(servers[1], "GET", "/") == (200, f"{name} {COUNTS}") for name, browser in users.items()
        )
        leaving = list(users)[::2]
        for name in leaving:
            failed += users[name].request(servers[1], "GET", "/logout") != (200, "bye")
        gone = sum(users[name].request(servers[0], "GET", "/") == (200, "nobody") for name in leaving)
    finally:
        for server in servers:
            server.stop()
    print(f"  {protocol}: {right} of {USERS} PHP sessions counted right under concurrent requests")
    print(f"  {protocol}: {gone} of {len(leaving)} logged out; {failed} requests failed")
    return right == USERS and gone == len(leaving) and not failed


sys.exit(not all([drive("binary", BINARY), drive("text", TEXT)]))
