# SPDX-License-Identifier: GPL-2.0
"""The initiator's side of WireGuard's protocol, with no opinion on what is in a packet.

After "WireGuard: Next Generation Kernel Network Tunnel", section 5.4: Noise_IKpsk2
with X25519, ChaCha20-Poly1305 and BLAKE2s, no pre-shared key, and no cookies, which
a host that has no load does not ask for. WireGuard's own transmit path drops what is
no IP packet; this sends it.
"""

import hashlib
import hmac
import os
import socket
import struct
import time

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from lib import SLOW

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
LABEL_MAC1 = b"mac1----"
INITIATION, RESPONSE, DATA = 1, 2, 4
TAI64_EPOCH = 0x400000000000000A
TIMEOUT = 20.0 * SLOW


def blake2s(*parts):
    return hashlib.blake2s(b"".join(parts)).digest()


def hmac_blake2s(key, data):
    return hmac.new(key, data, hashlib.blake2s).digest()


def kdf(count, key, data):
    secret, keys, block = hmac_blake2s(key, data), [], b""
    for number in range(1, count + 1):
        block = hmac_blake2s(secret, block + bytes([number]))
        keys.append(block)
    return keys


def seal(key, counter, plain, hashed=b""):
    return ChaCha20Poly1305(key).encrypt(struct.pack("<4xQ", counter), plain, hashed)


def unseal(key, counter, sealed, hashed=b""):
    return ChaCha20Poly1305(key).decrypt(struct.pack("<4xQ", counter), sealed, hashed)


def mac1(responder, message):
    """Return what shows that the sender knows the responder's public key."""
    return hashlib.blake2s(message, key=blake2s(LABEL_MAC1, responder), digest_size=16).digest()


class Session:
    """A session with a responder, from a UDP socket of the thread's namespace.

    Keys are 32 bytes; `endpoint` is an address as sockets take it.
    """

    def __init__(self, private, responder, endpoint):
        self.private = X25519PrivateKey.from_private_bytes(private)
        self.public = self.private.public_key().public_bytes_raw()
        self.responder = responder
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(endpoint)
        self.counter = 0
        self.key = None
        self.peer_index = None

    def shake_hands(self):
        """Raises what decrypting raises, or TimeoutError, unless the responder agrees."""
        ephemeral = X25519PrivateKey.generate()
        chain = blake2s(CONSTRUCTION)
        hashed = blake2s(blake2s(chain, IDENTIFIER), self.responder)
        to_responder = X25519PublicKey.from_public_bytes(self.responder)

        public = ephemeral.public_key().public_bytes_raw()
        chain, = kdf(1, chain, public)
        hashed = blake2s(hashed, public)
        chain, key = kdf(2, chain, ephemeral.exchange(to_responder))
        static = seal(key, 0, self.public, hashed)
        hashed = blake2s(hashed, static)
        chain, key = kdf(2, chain, self.private.exchange(to_responder))
        now = time.time_ns()
        tai64n = struct.pack(">QI", TAI64_EPOCH + now // 10 ** 9, now % 10 ** 9)
        stamp = seal(key, 0, tai64n, hashed)
        hashed = blake2s(hashed, stamp)
        index = os.urandom(4)
        message = struct.pack("<I", INITIATION) + index + public + static + stamp
        self.sock.send(message + mac1(self.responder, message) + bytes(16))

        answer = self.sock.recv(4096)
        kind, = struct.unpack_from("<I", answer)
        if kind != RESPONSE or answer[8:12] != index:
            raise OSError(f"the answer to the handshake is of type {kind}")
        self.peer_index, public, empty = answer[4:8], answer[12:44], answer[44:60]
        chain, = kdf(1, chain, public)
        hashed = blake2s(hashed, public)
        theirs = X25519PublicKey.from_public_bytes(public)
        chain, = kdf(1, chain, ephemeral.exchange(theirs))
        chain, = kdf(1, chain, self.private.exchange(theirs))
        chain, temporary, key = kdf(3, chain, bytes(32))
        unseal(key, 0, empty, blake2s(hashed, temporary))
        self.key, _ = kdf(2, chain, b"")
        self.counter = 0

    def sealed(self, plain):
        """Return the next packet, with any bytes; what an honest sender would pad is not padded."""
        packet = (struct.pack("<I", DATA) + self.peer_index + struct.pack("<Q", self.counter) +
                  seal(self.key, self.counter, plain))
        self.counter += 1
        return packet

    def send(self, plain):
        self.sock.send(self.sealed(plain))

    def close(self):
        self.sock.close()
