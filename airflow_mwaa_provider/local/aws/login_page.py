# SPDX-License-Identifier: Apache-2.0
"""The gateway's own small web page.

The login token follows a ``#``, which a browser does not send: a script must pass it on.
"""

from __future__ import annotations

import secrets
from html import escape

from aiohttp import web

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style nonce="{nonce}">body {{ font: 16px system-ui; margin: 15vh auto; max-width: 34em; padding: 0 1em }}</style>
</head>
<body><h1>{title}</h1><p id="text" role="status">{text}</p>{script}</body>
</html>
"""
_SCRIPT = """<script nonce="{nonce}">
const token = location.hash.slice(1);
const text = document.getElementById("text");
// The token leaves the address bar and the history before it is used.
history.replaceState(null, "", location.pathname);
if (!token) {{
  text.textContent = {without};
}} else {{
  fetch("{login_path}", {{
    method: "POST", credentials: "same-origin", body: new URLSearchParams({{ token }}),
  }}).then((answer) => {{
    if (answer.ok) {{ location.replace("/"); }}
    else {{ text.textContent = {refused}; }}
  }}).catch(() => {{ text.textContent = {unreachable}; }});
}}
</script>"""


def login_page(env_name: str, login_path: str) -> web.Response:
    """Return the page at ``/aws_mwaa/aws-console-sso``: it logs in and continues to Airflow's UI.

    Without a token it says what to do; requests whose session has ended are redirected there.
    """
    nonce = secrets.token_urlsafe(16)
    script = _SCRIPT.format(
        nonce=nonce,
        login_path=login_path,
        without='"You are not logged in, or your session has ended. Create a web login token and open its URL."',
        refused='"The login token was rejected. It is valid for 60 seconds. Create a new one."',
        unreachable='"The environment did not answer."',
    )
    title = f"Airflow of {env_name}"
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return web.Response(
        text=_PAGE.format(title=escape(title), text="Logging in…", nonce=nonce, script=script),
        content_type="text/html",
        charset="utf-8",
        headers={"Cache-Control": "no-store", "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"},
    )
