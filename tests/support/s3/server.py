#!/usr/bin/env python3
"""server.py: as much of S3 as a mirror needs, on a free port of 127.0.0.1, which it prints; ends when stdin does.

Tests every signature (AWS Signature Version 4) against the key "AKIDTEST" with the secret "top/secret+value", and every
body against the SHA-256 that was signed. Understands nothing that it was not taught: an unknown request is answered
with 501.

POST /_faults with lines "KIND COUNT SKIP REGEX": of the requests whose "METHOD path?query" the expression matches, SKIP
go well, then COUNT suffer: 503, slow (503 SlowDown), cut (connection closed without an answer), cut-body (closed in the
midst of the answer), damage-upload (a byte changes on its way in), damage-download (likewise out), hang (no answer
until the client goes away), error-200 (200, with an error in the body), store-damaged (the object changes in the store).
GET /_state tells, as JSON, the objects with their sizes, the uploads under way, all requests, and the faults that are
left.
"""
import hashlib
import hmac
import http.server
import json
import re
import sys
import threading
import urllib.parse

KEY, SECRET = "AKIDTEST", "top/secret+value"
lock = threading.Lock()
objects, uploads, requests, faults = {}, {}, [], []


def signature(method, path, query, headers, body_hash):
    """What the Authorization header must say, from the request as it came."""
    fields = dict(item.strip().split("=", 1) for item in headers["Authorization"].split(" ", 1)[1].split(","))
    key, date, region, service, _ = fields["Credential"].split("/")
    names = fields["SignedHeaders"].split(";")
    pairs = sorted((urllib.parse.quote(k, safe="-_.~"), urllib.parse.quote(v, safe="-_.~"))
                   for k, v in urllib.parse.parse_qsl(query, keep_blank_values=True))
    canonical = "\n".join([method, urllib.parse.quote(path, safe="/-_.~"), "&".join(f"{k}={v}" for k, v in pairs),
                           *(f"{name}:{headers[name].strip()}" for name in names), "", ";".join(names), body_hash])
    scope = f"{date}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    secret = ("AWS4" + SECRET).encode()
    for word in (date, region, service, "aws4_request"):
        secret = hmac.new(secret, word.encode(), hashlib.sha256).digest()
    right = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    needed = {"host", "x-amz-date", "x-amz-content-sha256"} <= set(names)
    return key == KEY and needed and hmac.compare_digest(fields["Signature"], right)


class Cut(Exception):
    """The connection is to end here."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=(), cut=False):
        if isinstance(body, str):
            body = body.encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:len(body) // 2] if cut else body)
        if cut:
            raise Cut

    def error(self, status, code, message):
        self.answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>"
                            f"<AWSAccessKeyId>{KEY}</AWSAccessKeyId></Error>")

    def fault(self):
        line = f"{self.command} {self.path}"
        with lock:
            requests.append(line)
            for each in faults:
                if re.search(each["match"], line) and each["count"] > 0:
                    if each["skip"] > 0:
                        each["skip"] -= 1
                        continue
                    each["count"] -= 1
                    return each["kind"]
        return None

    def handle_one(self):
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.startswith("/_"):
                return self.control(body)
            kind = self.fault()
            if kind == "503":
                return self.error(503, "ServiceUnavailable", "not now")
            if kind == "slow":
                return self.error(503, "SlowDown", "too many requests")
            if kind == "cut":
                raise Cut
            if kind == "hang":
                self.rfile.read(1)
                raise Cut
            if kind == "error-200":
                return self.error(200, "InternalError", "it went wrong late")
            if kind == "damage-upload":
                body = body[:-1] + bytes([body[-1] ^ 1])
            self.serve(body, kind)
        except (Cut, BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = handle_one

    def control(self, body):
        with lock:
            if self.path == "/_faults":
                for line in body.decode().splitlines():
                    kind, count, skip, match = line.split(" ", 3)
                    faults.append({"kind": kind, "count": int(count), "skip": int(skip), "match": match})
            state = {"objects": {name: len(data) for name, data in objects.items()},
                     "uploads": [upload["name"] for upload in uploads.values()], "requests": requests,
                     "faults": sum(each["count"] for each in faults)}
        self.answer(200, json.dumps(state))

    def serve(self, body, kind):
        path, _, query = self.path.partition("?")
        path = urllib.parse.unquote(path)
        declared = self.headers.get("x-amz-content-sha256", "")
        if not signature(self.command, path, query, self.headers, declared):
            return self.error(403, "SignatureDoesNotMatch", "The request signature does not match")
        if hashlib.sha256(body).hexdigest() != declared:
            return self.error(400, "XAmzContentSHA256Mismatch", "the body is not what was signed")
        words = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        bucket, _, name = path[1:].partition("/")
        if bucket != "bucket":
            return self.error(404, "NoSuchBucket", f"there is no bucket {bucket}")
        with lock:
            self.serve_object(name, words, body, kind) if name else self.serve_bucket(words)

    def serve_bucket(self, words):
        prefix, delimiter = words["prefix"], words.get("delimiter")
        if "uploads" in words:
            rows = sorted((upload["name"], number) for number, upload in uploads.items())
            rows = [row for row in rows if row[0].startswith(prefix)
                    and row > (words.get("key-marker", ""), words.get("upload-id-marker", ""))]
            page, rest = rows[:2], rows[2:]
            text = "".join(f"<Upload><Key>{k}</Key><UploadId>{n}</UploadId></Upload>" for k, n in page)
            if rest:
                text += f"<NextKeyMarker>{page[-1][0]}</NextKeyMarker><NextUploadIdMarker>{page[-1][1]}</NextUploadIdMarker>"
        else:
            rows = set()
            for name in objects:
                if name.startswith(prefix):
                    rest = name[len(prefix):]
                    cut = rest.find(delimiter) if delimiter else -1
                    rows.add((prefix + rest[:cut + 1], True) if cut >= 0 else (name, False))
            rows = [row for row in sorted(rows) if row[0] > words.get("continuation-token", "")]
            page, rest = rows[:3], rows[3:]
            text = "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" if common else
                           f"<Contents><Key>{name}</Key><Size>{len(objects[name])}</Size></Contents>"
                           for name, common in page)
            if rest:
                text += f"<NextContinuationToken>{page[-1][0]}</NextContinuationToken>"
        self.answer(200, f"<List><IsTruncated>{'true' if rest else 'false'}</IsTruncated>{text}</List>")

    def serve_object(self, name, words, body, kind):
        number = words.get("uploadId")
        if number is not None and number not in uploads:
            return self.error(404, "NoSuchUpload", "there is no such upload")
        if self.command == "POST" and "uploads" in words:
            number = f"upload {len(requests)}/+&"
            uploads[number] = {"name": name, "parts": {}}
            self.answer(200, f"<R><UploadId>{number.replace('&', '&amp;')}</UploadId></R>")
        elif self.command == "PUT":
            tag = f'"{hashlib.md5(body).hexdigest()}"'
            if kind == "store-damaged":
                body = body[:-1] + bytes([body[-1] ^ 1])
            if number is None:
                objects[name] = body
            else:
                uploads[number]["parts"][int(words["partNumber"])] = (tag, body)
            self.answer(200, headers=[("ETag", tag)])
        elif self.command == "POST" and number is not None:
            wanted = re.findall(r"<PartNumber>(\d+)</PartNumber><ETag>([^<]*)</ETag>", body.decode())
            parts = uploads[number]["parts"]
            small = any(len(parts[n][1]) < 5 << 20 for n in sorted(parts)[:-1])
            if small or [(n, parts.get(int(n), ("",))[0]) for n, _ in wanted] != wanted or len(wanted) != len(parts):
                return self.error(400, "InvalidPart", "the parts are not those that came")
            objects[name] = b"".join(parts[n][1] for n in sorted(parts))
            del uploads[number]
            self.answer(200, "<R><ETag>x</ETag></R>")
        elif self.command == "DELETE":
            uploads.pop(number, None) if number is not None else objects.pop(name, None)
            self.answer(204)
        elif self.command == "GET" and not words:
            self.read(name, kind)
        else:
            self.error(501, "NotImplemented", self.command)

    def read(self, name, kind):
        if name not in objects:
            return self.error(404, "NoSuchKey", "there is no such object")
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        data = objects[name][first:last + 1]
        if not data:
            return self.error(416, "InvalidRange", "behind the end")
        if kind == "damage-download":
            data = data[:-1] + bytes([data[-1] ^ 1])
        self.answer(206, data, cut=kind == "cut-body")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
