# SPDX-License-Identifier: Apache-2.0
"""A client of HTTP/2 made by hand (RFC 9113): says whatever frames a test likes, well-formed or not."""
import socket
import struct

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
NO_TABLE = struct.pack(">HI", 1, 0)  # SETTINGS_HEADER_TABLE_SIZE
END_STREAM, ACK, END_HEADERS = 1, 1, 4
NAMES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
         "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
         "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]


def frame(kind, flags=0, stream=0, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def integer(value, bits, first):
    """RFC 7541, section 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + [value])


def block(fields):
    """Literal fields, never indexed, no Huffman code."""
    out = b""
    for name, value in fields:
        for text in (name, value):
            if text is name:
                out += b"\x10"
            raw = text.encode() if isinstance(text, str) else text
            out += integer(len(raw), 7, 0) + raw
    return out


def connect_fields(service, *more):
    return [(":method", "CONNECT"), (":authority", service), *more]


def static_status(first):
    """The :status that nghttp2 encodes as an index, or None."""
    return {0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500}.get(first)


class Huffman:
    """Digits only, as a :status needs (RFC 7541, appendix B)."""
    CODES = {"0": "00000", "1": "00001", "2": "00010", "3": "011001", "4": "011010", "5": "011011", "6": "011100",
             "7": "011101", "8": "011110", "9": "011111"}

    @classmethod
    def decode(cls, raw):
        bits, text = "".join(f"{byte:08b}" for byte in raw), ""
        while not set(bits) <= {"1"}:
            digit = next(digit for digit, code in cls.CODES.items() if bits.startswith(code))
            text, bits = text + digit, bits[len(cls.CODES[digit]):]
        return text


class Stream:
    def __init__(self):
        self.status = None
        self.body = b""
        self.ended = False
        self.reset = None  # the code's name


class Client:
    """Over a TLS socket. Answers SETTINGS, and gives windows back as it reads."""

    def __init__(self, sealed, settings=b"", window=True):
        self.sealed = sealed
        sealed.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""
        self.next = 1
        self.streams = {}
        self.goaway = None  # (last stream, code's name)
        self.frames = []  # (kind, flags, stream, body) of all that is no DATA
        self.gives_window = window
        self.sealed.sendall(MAGIC + frame(SETTINGS, body=NO_TABLE + settings))

    def send(self, *args, **kwargs):
        self.sealed.sendall(frame(*args, **kwargs))

    def open(self, fields, end=False, body=b""):
        stream, self.next = self.next, self.next + 2
        self.streams[stream] = Stream()
        out = frame(HEADERS, END_HEADERS | (END_STREAM if end and not body else 0), stream, block(fields))
        if body:
            out += self._data(stream, body, end)
        self.sealed.sendall(out)
        return stream

    @staticmethod
    def _data(stream, body, end):
        parts = [body[i:i + 16384] for i in range(0, len(body), 16384)] or [b""]
        return b"".join(frame(DATA, END_STREAM if end and i == len(parts) - 1 else 0, stream, part)
                        for i, part in enumerate(parts))

    def write(self, stream, body, end=False):
        self.sealed.sendall(self._data(stream, body, end))

    def connect(self, service, *more):
        """A stream to the service; its status."""
        stream = self.open(connect_fields(service, *more))
        self.until(lambda: self.streams[stream].status is not None or self.streams[stream].reset)
        return stream

    def ask(self, fields, body=b""):
        """(status, body) of a whole exchange."""
        stream = self.open(fields, end=True, body=body)
        self.until(lambda: self.streams[stream].ended or self.streams[stream].reset)
        return self.streams[stream].status, self.streams[stream].body

    def read(self, stream, size):
        self.until(lambda: len(self.streams[stream].body) >= size or self.streams[stream].ended
                   or self.streams[stream].reset)
        got, self.streams[stream].body = self.streams[stream].body[:size], self.streams[stream].body[size:]
        return got

    def until(self, condition):
        while not condition():
            self.turn()

    def until_closed(self):
        """Reads to the end of the connection; the GOAWAY's code."""
        try:
            while True:
                self.turn()
        except (EOFError, OSError):
            return self.goaway[1] if self.goaway else None

    def turn(self):
        more = self.sealed.recv(65536)
        if not more:
            raise EOFError
        self.pending += more
        while len(self.pending) >= 9:
            size = int.from_bytes(self.pending[:3], "big")
            if len(self.pending) < 9 + size:
                return
            kind, flags = self.pending[3], self.pending[4]
            stream = int.from_bytes(self.pending[5:9], "big")
            body, self.pending = self.pending[9:9 + size], self.pending[9 + size:]
            self._take(kind, flags, stream, body)

    def _take(self, kind, flags, stream, body):
        if kind != DATA:
            self.frames.append((kind, flags, stream, body))
        if kind == SETTINGS and not flags & ACK:
            self.send(SETTINGS, ACK)
        elif kind == PING and not flags & ACK:
            self.send(PING, ACK, body=body)
        elif kind == GOAWAY:
            last, code = struct.unpack(">II", body[:8])
            self.goaway = (last, NAMES[code])
        if stream not in self.streams:
            return
        state = self.streams[stream]
        if kind == HEADERS:
            state.status = state.status or self._status(body)
        elif kind == DATA:
            state.body += body
            if body and self.gives_window:
                self.sealed.sendall(frame(WINDOW_UPDATE, body=struct.pack(">I", len(body))) +
                                    frame(WINDOW_UPDATE, stream=stream, body=struct.pack(">I", len(body))))
        elif kind == RST_STREAM:
            state.reset = NAMES[struct.unpack(">I", body)[0]]
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            state.ended = True

    @staticmethod
    def _status(encoded):
        """It stands first; the table that the relay's encoder might refer to has no room, by our settings."""
        while encoded[0] & 0xe0 == 0x20:  # it confirms that size
            encoded = encoded[1:]
        status = static_status(encoded[0])
        if status is not None:
            return status
        size = encoded[1] & 0x7f
        raw = encoded[2:2 + size]
        return int(Huffman.decode(raw) if encoded[1] & 0x80 else raw.decode())
