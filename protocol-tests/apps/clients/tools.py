"""The command line tools that operators use: libmemcached's, in the binary and the text protocol, and memcached-tool; and
memccapable, which tests a server.

usage: tools.py
MEMCACHED_SERVER names a server without authentication; MEMCACHED_SASL_SERVER, MEMCACHED_USERNAME and MEMCACHED_PASSWORD one
that wants SASL.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pymemcache.client.base import Client

from checks import check

SERVER = os.environ["MEMCACHED_SERVER"]
MEMCACHED_TOOL = "/usr/share/memcached/scripts/memcached-tool"


def run(*words, folder=None, wanted=0):
    done = subprocess.run(words, cwd=folder, capture_output=True, timeout=60)
    if done.returncode != wanted:
        sys.exit(f"failed: {' '.join(words)} ends with {done.returncode}: {done.stdout} {done.stderr}")
    return done.stdout.decode(errors="replace")


def libmemcached(*protocol):
    servers = [f"--servers={SERVER}", *protocol]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tool-file").write_bytes(b"what the file holds")
        run("memccp", *servers, "tool-file", folder=folder)
        check("what the file holds" in run("memccat", *servers, "tool-file"), f"memccp, memccat {protocol}")
        run("memcexist", *servers, "tool-file")
        run("memctouch", *servers, "--expire=100", "tool-file")
        run("memcrm", *servers, "tool-file")
        run("memcexist", *servers, "tool-file", wanted=1)
    check("curr_items" in run("memcstat", *servers), f"memcstat {protocol}")


def authenticated():
    server = [f"--servers={os.environ['MEMCACHED_SASL_SERVER']}", "--binary", f"--username={os.environ['MEMCACHED_USERNAME']}"]
    check("curr_items" in run("memcstat", *server, f"--password={os.environ['MEMCACHED_PASSWORD']}"), "memcstat by SASL")
    done = subprocess.run(["memcstat", *server, "--password=wrong"], capture_output=True, timeout=60)
    check(b"curr_items" not in done.stdout, "memcstat by a wrong password")


def memccapable(options, passes):
    """As many as memcached 1.6.45 passes; the two others are deletes with words behind the key, which it ignores (section 3.5)."""
    host, port = SERVER.split(":")
    done = subprocess.run(["memccapable", "-h", host, "-p", port, *options], capture_output=True, timeout=120)
    passed = done.stdout.decode().count("[pass]")
    check(passed == passes, f"memccapable {options}: {passed} passed: {done.stdout} {done.stderr}")
    print(f"  memccapable {' '.join(options)}: {passed} of 27")


def memcdump():
    client = Client(SERVER, timeout=10)
    for number in range(50):
        client.set(f"tool:{number}", b"x", noreply=False)
    listed = run("memcdump", f"--servers={SERVER}").split()
    check({f"tool:{number}" for number in range(50)} <= set(listed), "memcdump lists every key")


def memcached_tool():
    check("bytes" in run(MEMCACHED_TOOL, SERVER, "stats"), "memcached-tool stats")
    check("maxbytes" in run(MEMCACHED_TOOL, SERVER, "settings"), "memcached-tool settings")
    check("Item_Size" in run(MEMCACHED_TOOL, SERVER, "display"), "memcached-tool display")
    dump = run(MEMCACHED_TOOL, SERVER, "dump")
    check("add tool:7 " in dump, "memcached-tool dump")
    check("key=tool%3A7 " in run(MEMCACHED_TOOL, SERVER, "keys"), "memcached-tool keys")


libmemcached()
libmemcached("--binary")
memcdump()
memcached_tool()
authenticated()
print("  memccp, memccat, memcexist, memctouch, memcrm, memcstat, memcdump, memcached-tool: right")
memccapable(["-b"], 27)
memccapable(["-a"], 25)
