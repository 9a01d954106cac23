"""Downloads the files of a lock, several at once. Standard library only: it runs with whatever Python installs.

argv: a JSON file with [{"url", "filename", "sha256s"}], and the folder that gets <sha256>/<filename> of each. Answers
[{"filename", "sha256"}] on stdout in the same order. Logins come from the indexes' addresses in the environment and from
netrc, and never follow a redirection.
"""

import base64
import hashlib
import json
import netrc
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

AT_ONCE = 8
TRIES = 4
CHUNK_BYTES = 1024 * 1024
TIMEOUT_S = 60


def trust():
    """What the system trusts; images without certificates often have those that pip brings."""
    context = ssl.create_default_context()
    if not os.environ.get("SSL_CERT_FILE"):
        try:
            from pip._vendor import certifi

            context.load_verify_locations(certifi.where())
        except (ImportError, OSError):
            pass
    return context


def index_logins():
    addresses = (os.environ.get("UV_DEFAULT_INDEX", "") + " " + os.environ.get("UV_INDEX", "")).split()
    parts = [urllib.parse.urlsplit(address.split("=", 1)[-1] if "=" in address.split("://")[0] else address) for address in addresses]
    return {
        part.hostname: (urllib.parse.unquote(part.username), urllib.parse.unquote(part.password or ""))
        for part in parts
        if part.username
    }


def netrc_login(host):
    try:
        found = netrc.netrc(os.environ.get("NETRC") or None).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return (found[0], found[2] or "") if found else None


def ask(url, logins):
    part = urllib.parse.urlsplit(url)
    login = (urllib.parse.unquote(part.username), urllib.parse.unquote(part.password or "")) if part.username else None
    bare = part._replace(netloc=part.netloc.rpartition("@")[2], fragment="")
    request = urllib.request.Request(urllib.parse.urlunsplit(bare), headers={"User-Agent": "assay"})
    login = login or logins.get(part.hostname) or (netrc_login(part.hostname) if part.hostname else None)
    if login:
        value = base64.b64encode(":".join(login).encode()).decode()
        # Not sent again to the host that an index redirects to.
        request.add_unredirected_header("Authorization", "Basic " + value)
    return request


def download(opener, request, path):
    digest = hashlib.sha256()
    with opener.open(request, timeout=TIMEOUT_S) as answer, open(path, "wb") as out:
        announced = answer.headers.get("Content-Length")
        for chunk in iter(lambda: answer.read(CHUNK_BYTES), b""):
            digest.update(chunk)
            out.write(chunk)
        if announced is not None and out.tell() != int(announced):
            raise OSError("the answer ended after %d of %s bytes" % (out.tell(), announced))
    return digest.hexdigest()


def fetch(opener, logins, folder, number, one):
    partial = os.path.join(folder, "%d.partial" % number)
    for left in reversed(range(TRIES)):
        try:
            sha256 = download(opener, ask(one["url"], logins), partial)
            break
        except urllib.error.HTTPError as error:
            if left == 0 or not (error.code in (408, 429) or error.code >= 500):
                raise
        except OSError:
            if left == 0:
                raise
        time.sleep(0.5 * (TRIES - left))
    if sha256 not in one["sha256s"]:
        raise ValueError("its sha256 is %s, which the lock does not have" % sha256)
    target = os.path.join(folder, sha256)
    os.makedirs(target, exist_ok=True)
    os.replace(partial, os.path.join(target, one["filename"]))
    return {"filename": one["filename"], "sha256": sha256}


def main(wanted, folder):
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust()))
    logins = index_logins()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(fetch, opener, logins, folder, number, one) for number, one in enumerate(wanted)]
        answers = []
        for one, job in zip(wanted, jobs):
            try:
                answers.append(job.result())
            except Exception as error:
                for other in jobs:
                    other.cancel()
                sys.exit("%s: %s" % (one["filename"], error))
    print(json.dumps(answers))


with open(sys.argv[1], encoding="utf-8") as file:
    main(json.load(file), sys.argv[2])
