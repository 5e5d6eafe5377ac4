"""The Debian package under a real systemd: installed beside memcached and without it, used as operators use it, purged.

Run by `protocol-tests/service/run`, inside `with-systemd`; the argument is the package. Each scene is a function, in the order
of the file, and leaves the machine as the next one expects it. The first that fails ends the run with the journal's last lines.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import restarts

PACKAGE = sys.argv[1]
PATIENCE = 20

CONFIG = Path("/etc/memhold.conf")
DEFAULT = Path("/etc/default/memhold")
ALIAS = Path("/etc/systemd/system/memcached.service")


# --- what scenes are made of ---------------------------------------------------------------------------------------------


def run(*words, status=0, user=None):
    """Runs a command, as another user if one is named, and returns what it printed. It has to end with `status`."""
    if user:
        words = ("setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", *words)
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert status is None or done.returncode == status, f"{words} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def install():
    return run("dpkg", "--install", PACKAGE)


def connection(where=("127.0.0.1", 11211)):
    kind = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    link = socket.socket(kind)
    link.settimeout(PATIENCE)
    try:
        link.connect(where)
    except OSError:
        link.close()
        raise
    return link


def ask(request, where=("127.0.0.1", 11211)):
    """Sends a request on a connection of its own, and returns all that is answered."""
    with connection(where) as link:
        link.sendall(request + b"\r\nquit\r\n")
        answer = b""
        while piece := link.recv(65536):
            answer += piece
        return answer


def refuses(where=("127.0.0.1", 11211)):
    try:
        connection(where).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    return False


def eventually(what, *arguments):
    """Waits until `what` is true; what cannot be asked yet is not."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            if result := what(*arguments):
                return result
        assert time.monotonic() < deadline, f"{what.__name__} {arguments} did not come true"
        time.sleep(0.05)


def systemctl(*words, status=0):
    return run("systemctl", *words, status=status).strip()


def show(name, unit="memhold"):
    return systemctl("show", "--value", "-p", name, unit)


def pid(unit="memhold"):
    return int(show("MainPID", unit))


def active(unit="memhold"):
    return systemctl("is-active", unit, status=None) == "active"


def process(name, of=None):
    """A line of /proc/PID/status."""
    text = Path(f"/proc/{of or pid()}/status").read_text()
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(name + ":"))


def limit(name, of=None):
    text = Path(f"/proc/{of or pid()}/limits").read_text()
    line = next(line for line in text.splitlines() if line.startswith(name))
    return line.removeprefix(name).split()[:2]


@contextlib.contextmanager
def changed(path, text):
    """The file has this text instead of its own meanwhile."""
    before = path.read_text() if path.exists() else None
    path.write_text(text)
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)


@contextlib.contextmanager
def drop_in(lines, unit="memhold.service"):
    """The unit has these lines too, meanwhile."""
    folder = Path(f"/run/systemd/system/{unit}.d")
    folder.mkdir(parents=True)
    (folder / "test.conf").write_text(lines)
    systemctl("daemon-reload")
    try:
        yield
    finally:
        (folder / "test.conf").unlink()
        folder.rmdir()
        systemctl("daemon-reload")


def version():
    return ask(b"version")


OURS = b"VERSION 1.6.45\r\n"


def files():
    """Every file that a package could leave behind."""
    # What dpkg, the journal and others write whatever is installed; and what is large and has no place for a package.
    passed_over = (
        "/var/lib/dpkg /var/lib/apt /var/log /var/cache /var/backups /var/tmp /run/systemd /run/log /run/udev /run/user "
        "/var/lib/systemd/timers /usr/local /usr/src /usr/lib/modules /usr/lib/node_modules /usr/share/nodejs"
    ).split()
    tests = " -o ".join(f"-path {path}" for path in passed_over).split()
    tops = ["/etc", "/usr", "/var", "/run", "/opt", "/srv"]
    found = set(run("find", *tops, "(", *tests, ")", "-prune", "-o", "-print").splitlines())
    # User tables change with the user, which stays; elsewhere other services write while they run.
    tables = re.compile(r"/etc/(\.pwd\.lock|(passwd|group|g?shadow|sub[ug]id)-?)$")
    ours = re.compile(r"^/(etc|usr)/|memhold|memcache")
    return {path for path in found if ours.search(path) and not tables.match(path)}


# --- beside memcached ----------------------------------------------------------------------------------------------------


def installed_beside_memcached_it_does_not_take_its_place():
    assert Path("/usr/lib/systemd/system/memcached.service").exists(), "this scene needs Debian's memcached: install it"
    systemctl("start", "memcached")
    theirs = version()
    said = install()
    assert "memcached runs on this machine, so memhold is not started" in said, said
    assert not active() and active("memcached") and version() == theirs
    assert run("memcached", "-V").startswith("memcached 1.6.1"), "memcached still means Debian's"
    assert run("memhold", "-V").startswith("memcached 1.6.45 (memhold ")
    assert not ALIAS.exists()


def the_alternative_makes_memcacheds_own_unit_run_memhold():
    run("update-alternatives", "--set", "memcached", "/usr/bin/memhold")
    systemctl("restart", "memcached")
    assert eventually(version) == OURS
    assert run("pgrep", "--exact", "memcached").split() == [str(pid("memcached"))], "it is called as probes look for it"
    assert run("ps", "-o", "user=", "-p", str(pid("memcached"))).strip() == "memcache"
    assert int(process("Seccomp_filters", pid("memcached"))) >= 2
    tool = "/usr/share/memcached/scripts/memcached-tool"
    assert re.search(r"#\s+Item_Size\s+Max_age", run(tool, "127.0.0.1:11211", "display"))
    assert "memhold_version" in run(tool, "127.0.0.1:11211", "stats")
    systemctl("reload-or-restart", "memcached")
    assert eventually(version) == OURS
    systemctl("stop", "memcached")
    assert refuses()
    run("update-alternatives", "--auto", "memcached")


def when_memcached_goes_its_names_mean_memhold():
    run("dpkg", "--purge", "memcached")
    assert run("memcached", "-V").startswith("memcached 1.6.45 (memhold "), "dpkg's trigger has seen to it"
    assert not Path("/usr/bin/memcached.distrib").exists()
    systemctl("start", "memcached")
    assert active() and version() == OURS, "the name of its unit is memhold's"
    run("dpkg", "--purge", "memhold")
    assert not active() and not ALIAS.is_symlink()
    assert not os.path.lexists("/usr/bin/memcached")


# --- by itself -----------------------------------------------------------------------------------------------------------


def installed_it_serves_other_users():
    global before
    before = files()
    install()
    assert active() and systemctl("is-enabled", "memhold") == "enabled"
    assert version() == OURS
    said = run(sys.executable, __file__, "--ask", "set k 0 0 1\r\na\r\nget k", user="nobody")
    assert said.strip() == r"b'STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n'", said
    assert "Serving 1024 connections at most, 64 MB of items" in show("StatusText")
    assert run("memcached", "-V").startswith("memcached 1.6.45 (memhold ")
    run("man", "--where", "memhold")


def its_process_may_do_little():
    assert run("ps", "-o", "user=", "-p", str(pid())).strip() == "memcache"
    assert int(process("Seccomp_filters")) >= 2 and process("NoNewPrivs") == "1" and process("CapBnd") == "0" * 16
    for unit in ("memhold.service", "memhold@11212.service"):
        text = run("systemd-analyze", "security", unit)
        exposure = float(re.search(r"exposure level for \S+: ([0-9.]+)", text)[1])
        print(f"   exposure of {unit}: {exposure}")
        assert exposure <= 1.1, text


def its_limits_follow_its_options():
    soft, ceiling = limit("Max open files")
    assert soft == "1108" and int(ceiling) > 4180, "the ceiling stays, so that a reload may ask for more"
    with changed(DEFAULT, 'OPTIONS="-c 4096 -k"\n'):
        systemctl("restart", "memhold")
        assert ask(b"stats settings").count(b"STAT maxconns 4096\r\n") == 1
        assert limit("Max open files") == ["4180", ceiling]
        said = run("journalctl", "-u", "memhold", f"_PID={pid()}")
        if limit("Max locked memory") == ["unlimited", "unlimited"]:
            assert int(process("VmLck").split()[0]) > 0 and "mlockall" not in said
        else:
            # systemd itself may not give more than this machine has given it.
            assert "warning: -k invalid, mlockall() failed: the limit of locked memory is too low" in said, said
    systemctl("restart", "memhold")


def restart_reload_and_stop_do_what_they_say():
    first = pid()
    with socket.create_connection(("127.0.0.1", 11211), 10) as client:
        client.sendall(b"set kept 0 600 4\r\nhe")
        for _ in range(3):
            systemctl("reload", "memhold")
        client.sendall(b"re\r\nget kept\r\n")
        expected = b"STORED\r\nVALUE kept 0 4\r\nhere\r\nEND\r\n"
        assert client.recv(len(expected), socket.MSG_WAITALL) == expected, "an upgrade keeps connections"
    assert pid() == first and version() == OURS

    def upgraded():
        return "has taken over process" in run("journalctl", "-u", "memhold", f"_PID={first}")

    assert eventually(upgraded)
    systemctl("restart", "memhold")
    assert pid() != first and version() == OURS
    with connection() as client:
        client.sendall(b"mn\r\n")
        assert client.recv(4) == b"MN\r\n"
        start = time.monotonic()
        systemctl("stop", "memhold")
        assert time.monotonic() - start < 5, "what is left with systemd does not make a stop slow"
        assert client.recv(4) == b"", "a stop closes connections"
    assert refuses() and show("Result") == "success" and show("NFileDescriptorStore") == "0"
    systemctl("start", "memhold")
    assert version() == OURS, "start waits until it serves"


def a_restart_keeps_connections():
    ask(b"set kept 0 600 4\r\nhere")
    idle, busy, times = restarts.of_environment()
    with changed(DEFAULT, f'OPTIONS="-c {idle + busy + 100}"\n'):
        systemctl("restart", "memhold")
        crowd = restarts.Restarts(("127.0.0.1", 11211), idle, busy)
        before, waits = pid(), []
        with connection() as client:
            client.sendall(b"get ke")
            for way in ["restart"] * times + ["reload"] * times:
                crowd.longest_wait()
                systemctl("reset-failed", "memhold")
                systemctl(way, "memhold")
                # The next answer may have to wait until the new process serves.
                eventually(version)
                waits.append(crowd.longest_wait())
            client.sendall(b"pt\r\n")
            expected = b"VALUE kept 0 4\r\nhere\r\nEND\r\n"
            assert client.recv(len(expected), socket.MSG_WAITALL) == expected
        assert show("NFileDescriptorStore") == "0" and pid() != before
        for way, waits in [("restart", waits[:times]), ("reload", waits[times:])]:
            waits = sorted(round(1000 * wait) for wait in waits)
            print(f"   {idle} idle and {busy} busy clients, longest wait at each {way}: {waits} ms")
        print(f"   {crowd.stop()} answers, all right")
        # Another process may listen otherwise.
        with connection() as client:
            DEFAULT.write_text('OPTIONS="-p 11213"\n')
            systemctl("restart", "memhold")
            assert client.recv(4) == b"" and refuses() and ask(b"version", ("127.0.0.1", 11213)) == OURS
    systemctl("restart", "memhold")
    assert refuses(("127.0.0.1", 11213))
    # Where systemd may keep nothing, connections are closed.
    with drop_in("[Service]\nFileDescriptorStoreMax=0\n"), connection() as client:
        systemctl("restart", "memhold")
        assert client.recv(4) == b"" and version() == OURS


def items_outlive_a_restart_a_stop_and_a_kill():
    ask(b"set kept 5 600 4\r\nhere")
    kept = b"VALUE kept 5 4\r\nhere\r\nEND\r\n"
    systemctl("restart", "memhold")
    assert ask(b"get kept") == kept
    systemctl("stop", "memhold")
    systemctl("start", "memhold")
    assert ask(b"get kept") == kept
    systemctl("kill", "-s", "KILL", "memhold")
    assert eventually(ask, b"get kept") == kept
    assert Path("/run/memhold/memory").stat().st_mode & 0o077 == 0, "what users stored is not for everybody"
    systemctl("reset-failed", "memhold")
    systemctl("restart", "memhold")


def killed_it_is_started_again():
    first = pid()
    systemctl("kill", "-s", "KILL", "memhold")
    eventually(lambda: pid() not in (0, first))
    assert eventually(version) == OURS and int(show("NRestarts")) == 1


def hanging_it_is_started_again():
    with drop_in("[Service]\nWatchdogSec=1\n"):
        systemctl("restart", "memhold")
        first = pid()
        time.sleep(3)
        assert pid() == first, "a server that is well is left alone"
        run("kill", "-STOP", str(first))
        eventually(lambda: pid() not in (0, first))
        assert eventually(version) == OURS
    systemctl("reset-failed", "memhold")
    systemctl("restart", "memhold")


def debians_file_of_memcached_is_read_as_it_is():
    debian = Path("/etc/memcached.conf")
    text = "# memcached default config file\n-d\nlogfile /var/log/memcached.log\n# -v\n-m 64\n-p 11213\n-u memcache\n" \
        "-l 127.0.0.1\n-l ::1\n-P /run/memcached/memcached.pid\n"
    with changed(debian, text), changed(DEFAULT, f"CONFIG={debian}\n"):
        systemctl("restart", "memhold")
        assert ask(b"version", ("127.0.0.1", 11213)) == OURS
        assert Path("/run/memcached/memcached.pid").read_text() == f"{pid()}\n"
        assert process("Threads") != "1"
    Path("/run/memcached/memcached.pid").unlink()
    systemctl("restart", "memhold")


def fedoras_unit_runs_it_unchanged():
    unit, sysconfig = Path("/run/systemd/system/fedora.service"), Path("/run/sysconfig-memcached")
    sysconfig.write_text('PORT="11214"\nUSER="memcache"\nMAXCONN="1024"\nCACHESIZE="64"\nOPTIONS="-l 127.0.0.1,::1"\n')
    unit.write_text(
        # Of upstream's scripts/memcached.service, with its hardening.
        f"[Service]\nEnvironmentFile={sysconfig}\n"
        "ExecStart=/usr/bin/memcached -p ${PORT} -u ${USER} -m ${CACHESIZE} -c ${MAXCONN} $OPTIONS\n"
        "PrivateTmp=true\nProtectSystem=full\nNoNewPrivileges=true\nPrivateDevices=true\n"
        "CapabilityBoundingSet=CAP_SETGID CAP_SETUID CAP_SYS_RESOURCE\n"
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\nMemoryDenyWriteExecute=true\n"
        "ProtectKernelModules=true\nProtectKernelTunables=true\nProtectControlGroups=true\n"
        "RestrictRealtime=true\nRestrictNamespaces=true\n"
    )
    systemctl("daemon-reload")
    systemctl("start", "fedora")
    assert eventually(ask, b"version", ("127.0.0.1", 11214)) == OURS
    one = pid("fedora")
    assert run("ps", "-o", "user=,comm=", "-p", str(one)).split() == ["memcache", "memcached"]
    assert int(process("Seccomp_filters", one)) >= 2
    systemctl("stop", "fedora")
    unit.unlink()
    sysconfig.unlink()
    systemctl("daemon-reload")


def a_mistake_in_the_file_is_told_by_its_line():
    text = CONFIG.read_text() + "-c none\n"
    number = text.count("\n")
    with changed(CONFIG, text):
        said = run("memhold", "--config", str(CONFIG), "--check-config", status=1)
        assert said.startswith(f"{CONFIG}:{number}: this option is refused:\nMaximum connections"), said
        systemctl("restart", "memhold", status=1)
        journal = run("journalctl", "-u", "memhold", "-n", "50")
        assert f"{CONFIG}:{number}: this option is refused:" in journal, journal
        eventually(lambda: show("ActiveState") == "failed")
    systemctl("reset-failed", "memhold")
    systemctl("start", "memhold")
    assert version() == OURS


def systemd_may_listen_for_it():
    systemctl("disable", "--now", "memhold")
    systemctl("enable", "--now", "memhold.socket")
    assert not active()
    assert version() == OURS and active(), "the first connection starts it"
    with connection() as client:
        client.sendall(b"get no")
        systemctl("restart", "memhold")
        client.sendall(b"ne\r\n")
        assert client.recv(5, socket.MSG_WAITALL) == b"END\r\n", "connections go on here too"
    assert version() == OURS
    # While it is down its clients wait instead of being refused.
    systemctl("kill", "-s", "KILL", "memhold")
    assert version() == OURS
    systemctl("disable", "--now", "memhold.socket")
    systemctl("stop", "memhold")
    assert refuses()
    systemctl("enable", "--now", "memhold")
    assert version() == OURS


def instances_have_a_port_or_a_file():
    systemctl("enable", "--now", "memhold@11212")
    assert ask(b"version", ("127.0.0.1", 11212)) == OURS and active()
    path = "/run/memhold-sessions/socket"
    with changed(Path("/etc/memhold_sessions.conf"), f"-m 32\n-s {path}\n-a 0777\n"):
        systemctl("start", "memhold@sessions")
        assert b"STAT limit_maxbytes 33554432\r\n" in ask(b"stats", path)
        assert "VERSION" in run(sys.executable, __file__, "--ask", "version", path, user="nobody")
        systemctl("stop", "memhold@sessions")
    systemctl("start", "memhold@nowhere", status=1)
    assert "cannot read the options in /etc/memhold_nowhere.conf" in run("journalctl", "-u", "memhold@nowhere")
    systemctl("stop", "memhold@nowhere", status=None)


def as_the_first_process_of_a_container_it_stops_at_once():
    words = ["unshare", "--pid", "--fork", "--mount-proc", "memhold", "-u", "memcache", "-l", "127.0.0.1", "-p", "11215"]
    with subprocess.Popen(words) as outer:
        assert eventually(ask, b"version", ("127.0.0.1", 11215)) == OURS
        inner = run("pgrep", "--parent", str(outer.pid)).strip()
        start = time.monotonic()
        run("kill", "-TERM", inner)
        assert outer.wait(PATIENCE) == 0 and time.monotonic() - start < 5


def an_upgrade_restarts_it_and_keeps_what_the_operator_changed():
    first = pid()
    text = CONFIG.read_text().replace("-m 64", "-m 100")
    CONFIG.write_text(text)
    with connection() as client:
        client.sendall(b"get no")
        run("dpkg", "--install", "--force-confold", PACKAGE)
        client.sendall(b"ne\r\n")
        assert client.recv(5, socket.MSG_WAITALL) == b"END\r\n", "connections stay"
    assert pid() not in (0, first) and CONFIG.read_text() == text
    assert b"STAT limit_maxbytes 104857600\r\n" in ask(b"stats")
    assert ask(b"version", ("127.0.0.1", 11212)) == OURS, "instances go on too"
    systemctl("disable", "--now", "memhold")
    run("dpkg", "--install", PACKAGE)
    assert not active(), "what was switched off stays off"
    systemctl("enable", "--now", "memhold")


def purged_it_leaves_nothing():
    assert active() and active("memhold@11212")
    run("dpkg", "--remove", "memhold")
    assert refuses() and refuses(("127.0.0.1", 11212)) and CONFIG.exists()
    install()
    assert version() == OURS, "it comes back as it was"
    run("dpkg", "--purge", "memhold")
    left = files() - before
    assert not left, "\n".join(sorted(left))
    missing = before - files()
    assert not missing, "\n".join(sorted(missing))
    assert show("LoadState") == "not-found"


SCENES = [
    installed_beside_memcached_it_does_not_take_its_place,
    the_alternative_makes_memcacheds_own_unit_run_memhold,
    when_memcached_goes_its_names_mean_memhold,
    installed_it_serves_other_users,
    its_process_may_do_little,
    its_limits_follow_its_options,
    restart_reload_and_stop_do_what_they_say,
    a_restart_keeps_connections,
    items_outlive_a_restart_a_stop_and_a_kill,
    killed_it_is_started_again,
    hanging_it_is_started_again,
    debians_file_of_memcached_is_read_as_it_is,
    fedoras_unit_runs_it_unchanged,
    a_mistake_in_the_file_is_told_by_its_line,
    systemd_may_listen_for_it,
    instances_have_a_port_or_a_file,
    as_the_first_process_of_a_container_it_stops_at_once,
    an_upgrade_restarts_it_and_keeps_what_the_operator_changed,
    purged_it_leaves_nothing,
]


def main():
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    # In containers this keeps packages from starting what they bring.
    Path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)
    # dpkg would have all manuals indexed anew at each turn.
    Path("/var/lib/man-db/auto-update").unlink(missing_ok=True)
    for number, scene in enumerate(SCENES):
        name = scene.__name__.replace("_", " ")
        start = time.monotonic()
        try:
            scene()
        except Exception as error:
            print(f"FAILED {name}: {type(error).__name__} {error}")
            print(run("journalctl", "--no-pager", "-n", "40", "-u", "memhold*", "-u", "memcached", status=None))
            print(f"service: {number} passed, 1 failed, {len(SCENES) - number - 1} not reached")
            raise
        print(f"ok {name} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"service: {len(SCENES)} passed, 0 failed")


if __name__ == "__main__":
    if sys.argv[1] == "--ask":
        print(ask(sys.argv[2].encode(), *sys.argv[3:]))
    else:
        main()
