"""An issuer of tokens: signs what it is told, and serves its keys as the test wants."""

import base64
import http.server
import json
import threading
import time

from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


def b64(data):
    data = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class Key:
    """alg: RS256, PS384, ES256, ..."""

    def __init__(self, alg="RS256", kid="k1", private=None):
        self.alg, self.kid = alg, kid
        self.private = private or (
            ec.generate_private_key(CURVES[alg]()) if alg in CURVES
            else rsa.generate_private_key(65537, 2048))

    @property
    def size(self):
        return (self.private.curve.key_size + 7) // 8

    def jwk(self, **more):
        public = self.private.public_key().public_numbers()
        if self.alg in CURVES:
            made = {"kty": "EC", "crv": f"P-{self.private.curve.key_size}",
                    "x": number(public.x, self.size), "y": number(public.y, self.size)}
        else:
            made = {"kty": "RSA", "n": number(public.n), "e": number(public.e)}
        made.update(kid=self.kid, use="sig")
        made.update(more)
        return {name: value for name, value in made.items() if value is not None}

    def pem(self):
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data, alg):
        digest = HASHES[alg[2:]]()
        if alg.startswith("ES"):
            r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
            return r.to_bytes(self.size, "big") + s.to_bytes(self.size, "big")
        how = padding.PKCS1v15() if alg.startswith("RS") else \
            padding.PSS(padding.MGF1(digest), digest.digest_size)
        return self.private.sign(data, how, digest)


def hs256(secret, data):
    mac = hmac.HMAC(secret, hashes.SHA256())
    mac.update(data)
    return mac.finalize()


class Issuer:
    """with Issuer() as i: i.token(preferred_username="ann")

    keys: what is served; down: nothing is answered but 503; body: served instead of the keys."""

    def __init__(self, *keys):
        self.keys = list(keys) or [Key()]
        self.asked, self.down, self.body, self.named, self.keys_at = [], False, None, None, None
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                outer.hold.wait(30)
                try:
                    self.answer(*outer.answer(self.path))
                except OSError:
                    pass

            def answer(self, code, body):
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, path):
        if self.down:
            return 503, b""
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps({"issuer": self.named or self.url,
                                    "jwks_uri": self.keys_at or self.url + "/keys"}).encode()
        if path == "/keys":
            return 200, self.key_set().encode() if self.body is None else self.body
        return 404, b""

    def key_set(self):
        return json.dumps({"keys": [k if isinstance(k, dict) else k.jwk() for k in self.keys]})

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def claims(self, **more):
        now = int(time.time())
        made = {"iss": self.url, "aud": "provost", "exp": now + 600, "iat": now,
                "preferred_username": "ann"}
        made.update(more)
        return {name: value for name, value in made.items() if value is not None}

    def token(self, key=None, header=None, alg=None, raw=None, **claims):
        """raw: the text of the claims instead."""
        key = key or self.keys[0]
        head = {"alg": alg or key.alg, "typ": "JWT", "kid": key.kid}
        head.update(header or {})
        head = {name: value for name, value in head.items() if value is not None}
        text = raw if raw is not None else json.dumps(self.claims(**claims))
        signed = (b64(json.dumps(head)) + "." + b64(text)).encode()
        return (signed + b"." + b64(key.sign(signed, alg or key.alg)).encode()).decode()

    def close(self):
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
