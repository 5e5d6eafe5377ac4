"""The Flask application that everybody writes: a login form, a name in the session, a way out.

Sessions are kept in memcached through python-memcached; the browser holds nothing but the session's id.
MEMCACHED_SERVER says where the server is (127.0.0.1:11211).
"""

import os
import uuid

import memcache
from flask import Flask, redirect, request, session, url_for
from flask.sessions import SessionInterface, SessionMixin

app = Flask(__name__)
cache = memcache.Client([os.environ.get("MEMCACHED_SERVER", "127.0.0.1:11211")])


class StoredSession(dict, SessionMixin):
    """What Flask calls `session`: a dictionary that knows its id."""

    def __init__(self, session_id, data=None):
        super().__init__(data or {})
        self.session_id = session_id


class MemcacheSessions(SessionInterface):
    """Loads the session before each request and stores it after."""

    cookie = "sid"
    lifetime = 3600

    def open_session(self, app, request):
        session_id = request.cookies.get(self.cookie)
        data = cache.get("session:" + session_id) if session_id else None
        if data is None:
            return StoredSession(uuid.uuid4().hex)
        return StoredSession(session_id, data)

    def save_session(self, app, session, response):
        key = "session:" + session.session_id
        if not session:
            cache.delete(key)
            response.delete_cookie(self.cookie)
            return
        if not cache.set(key, dict(session), time=self.lifetime):
            response.status_code = 503
        response.set_cookie(self.cookie, session.session_id, httponly=True, max_age=self.lifetime)


app.session_interface = MemcacheSessions()


@app.route("/")
def index():
    if "username" in session:
        session["visits"] = session.get("visits", 0) + 1
        return f"Logged in as {session['username']}"
    return "You are not logged in"


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "POST":
        session["username"] = request.form["username"]
        return redirect(url_for("index"))
    return '<form method="post"><input name="username"><input type="submit" value="Log in"></form>'


@app.route("/logout")
def logout():
    session.clear()
    return redirect(url_for("index"))
