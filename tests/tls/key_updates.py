"""A client that floods with KeyUpdate (RFC 8446 section 4.6.3), which no Python library sends: its records
are made here from the secret in the key log."""

import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

HASH = hashes.SHA384()
"""Of TLS_AES_256_GCM_SHA384, OpenSSL's first choice."""
HANDSHAKE, DATA = b"\x16", b"\x17"


class Records:
    """What the client of a connection sends next, in place of OpenSSL's."""

    def __init__(self, key_log_line: bytes) -> None:
        label, _, secret = key_log_line.split()
        assert label == b"CLIENT_TRAFFIC_SECRET_0"
        self._start(bytes.fromhex(secret.decode()))

    def _start(self, secret: bytes) -> None:
        self._secret = secret
        self._aead = AESGCM(_expand(secret, b"key", 32))
        self._iv = int.from_bytes(_expand(secret, b"iv", 12), "big")
        self._sequence = 0

    def _seal(self, content: bytes, kind: bytes) -> bytes:
        header = b"\x17\x03\x03" + struct.pack(">H", len(content) + 1 + 16)
        nonce = (self._iv ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return header + self._aead.encrypt(nonce, content + kind, header)

    def key_update(self) -> bytes:
        """Return one record that asks for no answer; the next ones are under the next key."""
        record = self._seal(b"\x18\x00\x00\x01\x00", HANDSHAKE)
        self._start(_expand(self._secret, b"traffic upd", HASH.digest_size))
        return record

    def data(self, content: bytes) -> bytes:
        return self._seal(content, DATA)


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label without context (RFC 8446 section 7.1)."""
    full = b"tls13 " + label
    info = struct.pack(">HB", size, len(full)) + full + b"\0"
    return HKDFExpand(algorithm=HASH, length=size, info=info).derive(secret)
