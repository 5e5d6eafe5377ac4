"""Users of real applications stay logged in whatever happens to the service: Flask-Session over pymemcache, and PHP's own sessions,
with the package under a real systemd.

Run by `protocol-tests/service/sessions`, inside `with-systemd`; the arguments are the package and the folder of applications.
After each event every user has to be known by name, by every web server. A page may have to be loaded again where the
application's client had a connection that the old process took along; that is counted and told.
"""

import contextlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PACKAGE, APPS = sys.argv[1], Path(sys.argv[2])
sys.path.insert(0, str(APPS))
from web import Browser, WebServer  # noqa: E402

SERVER = "127.0.0.1:11211"
USERS = 100
# A page is loaded again so often, a tenth of a second apart.
RELOADS = 50

# What happens, and the commands that bring it about. After all but the first another process serves.
EVENTS = [
    ("systemctl reload", ["systemctl reload memhold"]),
    ("systemctl restart", ["systemctl restart memhold"]),
    ("two restarts at once", ["systemctl restart memhold", "systemctl restart memhold"]),
    ("systemctl stop, start", ["systemctl stop memhold", "systemctl start memhold"]),
    ("kill -9", ["systemctl kill -s KILL memhold"]),
    ("the abort of a panic", ["systemctl kill -s ABRT memhold"]),
    ("an upgrade of the package", [f"dpkg --install {PACKAGE}"]),
    ("more memory and threads", ["sed -i 's/^-m 64$/-m 128/' /etc/memhold.conf", "systemctl restart memhold"]),
]


def pid():
    words = ["systemctl", "show", "--value", "-p", "MainPID", "memhold"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


class Application:
    """Web servers of one kind, and its users."""

    def __init__(self, name, servers, greeting):
        self.name, self.servers, self.greeting = name, servers, greeting
        self.users = {f"{name} user {number}": Browser() for number in range(USERS)}
        self.reloads = 0

    def load(self, name, number, *request):
        """What the page says, after as many tries as it takes."""
        for reload in range(RELOADS):
            with contextlib.suppress(OSError):
                status, text = self.users[name].request(self.servers[number % len(self.servers)], *request)
                if status < 500 and "Warning" not in text:
                    self.reloads += min(reload, 1)
                    return status, text
            time.sleep(0.1)
        return None, None

    def log_in(self, pool):
        return sum(pool.map(lambda name: self.load(name, 0, "POST", "/login", {"username": name})[0] in (200, 302), self.users))

    def known(self, pool):
        """How many users are greeted by their own name, by every web server."""
        self.reloads = 0
        jobs = [(name, number) for name in self.users for number in range(len(self.servers))]
        greeted = pool.map(lambda job: self.load(*job, "GET", "/") == (200, self.greeting(job[0])), jobs)
        return sum(greeted) // len(self.servers)


def flask():
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:{port}", "app:app"]
    servers = [WebServer(command, APPS / "flask_session", {"MEMCACHED_SERVER": SERVER}) for _ in range(2)]
    return Application("Flask", servers, lambda name: f"Logged in as {name}")


def php(protocol, binary):
    settings = {
        "session.save_handler": "memcached",
        "session.save_path": SERVER,
        "memcached.sess_binary_protocol": binary,
        "memcached.sess_prefix": f"php.{protocol}.",
        "session.lazy_write": "0",
    }
    command = ["php"] + [word for item in settings.items() for word in ("-d", "=".join(item))]
    servers = [WebServer([*command, "-S", "127.0.0.1:{port}", "index.php"], APPS / "php_session") for _ in range(2)]
    return Application(f"PHP ({protocol})", servers, lambda name: f"{name} 0")


def main():
    Path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)
    Path("/var/lib/man-db/auto-update").unlink(missing_ok=True)
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"

    def do(line):
        subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL)

    do("systemctl disable --now memcached 2>/dev/null || true")
    do(f"dpkg --install {PACKAGE}")
    applications = [flask(), php("binary", "1"), php("text", "0")]
    failed = 0
    try:
        with ThreadPoolExecutor(8) as pool:
            for each in applications:
                number = each.log_in(pool)
                failed += number != USERS
                print(f"  {each.name}: {number} of {USERS} logged in")
            for name, lines in EVENTS:
                before = pid()
                for line in lines:
                    do(line)
                while name != "systemctl reload" and pid() in ("0", before):
                    time.sleep(0.05)
                for each in applications:
                    number = each.known(pool)
                    # An upgrade in place is not even noticed.
                    failed += number != USERS or (name == "systemctl reload" and each.reloads > 0)
                    print(f"  {name}: {each.name}: {number} of {USERS} still logged in, {each.reloads} pages loaded twice")
    finally:
        for server in (server for each in applications for server in each.servers):
            server.stop()
    if failed:
        print(subprocess.run(["journalctl", "--no-pager", "-u", "memhold", "-n", "60"], capture_output=True, text=True).stdout)
    print("sessions: FAILED" if failed else f"sessions: kept through {len(EVENTS)} events")
    sys.exit(bool(failed))


main()
