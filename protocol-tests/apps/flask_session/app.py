"""The same application with Flask-Session over pymemcache, as its documentation shows it.

MEMCACHED_SERVER says where the server is (127.0.0.1:11211).
"""

import os

from flask import Flask, redirect, request, session, url_for
from flask_session import Session
from pymemcache.client.base import PooledClient

app = Flask(__name__)
app.config.update(
    SESSION_TYPE="memcached",
    SESSION_MEMCACHED=PooledClient(os.environ.get("MEMCACHED_SERVER", "127.0.0.1:11211"), max_pool_size=4),
    SESSION_KEY_PREFIX="flask-session:",
    PERMANENT_SESSION_LIFETIME=3600,
)
Session(app)


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
