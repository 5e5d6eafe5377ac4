"""Clients that stay connected while the service is restarted again and again: what scenes.py and operators ask of `Restarts`.

Many idle and some busy connections, in several processes, since each may have only so many files open. Every answer is checked: busy
clients count with the server (`incr`), so that an answer that is lost, doubled or out of order is noticed at once.
"""

import multiprocessing
import os
import resource
import selectors
import socket
import time

PATIENCE = 60
PROCESSES = 4


class Client:
    """A busy connection: one request at a time, and what it took."""

    def __init__(self, where, name):
        self.link, self.name, self.count, self.buffer = connect(where), name.encode(), 0, b""
        self.ask(b"set %b 0 0 1\r\n0\r\n" % self.name, b"STORED\r\n")
        assert self.done(wait=True)

    def ask(self, request, expected):
        self.expected, self.since = expected, time.monotonic()
        self.link.sendall(request)

    def count_on(self):
        self.count += 1
        value = str(self.count).encode()
        found = b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (self.name, len(value), value)
        self.ask(b"incr %b 1\r\nget %b\r\n" % (self.name, self.name), value + b"\r\n" + found)

    def done(self, wait=False):
        """Whether the answer has come; it is the expected one, or that is an error."""
        while True:
            piece = self.link.recv(4096)
            assert piece, "the connection was closed"
            self.buffer += piece
            assert self.expected.startswith(self.buffer), (self.expected, self.buffer)
            if self.buffer == self.expected:
                self.buffer = b""
                return True
            if not wait:
                return False


def connect(where):
    link = socket.create_connection(where, PATIENCE)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def work(where, number, idle, busy, pipe):
    """One process: tells when all are connected, then after each word the longest wait since the last one, and at the end how many
    answers there were."""
    selector = selectors.DefaultSelector()
    clients = [Client(where, f"restarts-{number}-{each}") for each in range(busy)]
    crowd = [connect(where) for _ in range(idle)]
    for client in clients:
        selector.register(client.link, selectors.EVENT_READ, client)
        client.count_on()
    selector.register(pipe, selectors.EVENT_READ, None)
    pipe.send("ready")
    longest, answers, going = 0, 0, len(clients)
    stopping = False
    while going or not stopping:
        events = selector.select(PATIENCE)
        assert events, "nobody is answered"
        for key, _ in events:
            client = key.data
            if client is None:
                stopping = pipe.recv() == "stop"
                pipe.send(longest)
                longest = 0
            elif client.done():
                longest = max(longest, time.monotonic() - client.since)
                answers += 1
                if stopping:
                    selector.unregister(client.link)
                    going -= 1
                else:
                    client.count_on()
    for link in crowd:
        link.sendall(b"mn\r\n")
    for link in crowd:
        assert link.recv(4) == b"MN\r\n", "an idle connection is answered"
    pipe.send(answers)


class Restarts:
    """So many clients of a server, connected when this is made."""

    def __init__(self, where, idle, busy):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.pipes, self.workers = [], []
        for number in range(PROCESSES):
            ours, theirs = multiprocessing.Pipe()
            arguments = (where, number, idle // PROCESSES, -(-busy // PROCESSES), theirs)
            worker = multiprocessing.Process(target=work, args=arguments, daemon=True)
            worker.start()
            theirs.close()
            self.pipes.append(ours)
            self.workers.append(worker)
        self.hear()

    def hear(self):
        said = []
        for pipe in self.pipes:
            assert pipe.poll(PATIENCE), "a client says nothing"
            # One that has given up says why on standard error, and its pipe is closed: EOFError.
            said.append(pipe.recv())
        return said

    def longest_wait(self, word="look"):
        """In seconds, since it was last asked for."""
        for pipe in self.pipes:
            pipe.send(word)
        return max(self.hear())

    def stop(self):
        """Ends all clients; how many answers busy ones had. An error when one was wrong or missing."""
        self.longest_wait("stop")
        answers = sum(self.hear())
        for worker in self.workers:
            worker.join(PATIENCE)
            assert worker.exitcode == 0
        return answers


def of_environment():
    """How many idle and busy clients, and how many times: few, unless MEMHOLD_RESTARTS says "IDLE BUSY TIMES"."""
    return [int(word) for word in os.environ.get("MEMHOLD_RESTARTS", "400 20 5").split()]
