"""Numbers and bytes, read from the front. docs/format-group.md, section 1."""


class Refused(Exception):
    """The bytes are not what the pages describe; nothing of that part may be used."""


class Limits:
    """What the reader admits, in bytes."""

    def __init__(self, stream_bytes=1 << 30, pack_bytes=512 << 20):
        self.stream_bytes = stream_bytes
        self.pack_bytes = pack_bytes


MAX_PLACE = (1 << 63) - 1


class Reader:
    """Bytes with a position."""

    def __init__(self, data, what):
        self.data, self.at, self.what = data, 0, what

    def refuse(self, why):
        raise Refused(f"{self.what}, offset {self.at}: {why}")

    def left(self):
        return len(self.data) - self.at

    def bytes(self, count):
        if count > self.left():
            self.refuse(f"{count} bytes wanted, {self.left()} left")
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def byte(self):
        return self.bytes(1)[0]

    def little(self, width):
        return int.from_bytes(self.bytes(width), "little")

    def number(self):
        value = 0
        for place in range(10):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if value >> 64 or (byte == 0 and place > 0):
                    self.refuse("a number that does not fit, or with a shorter spelling")
                return value
        self.refuse("a number of more than ten bytes")

    def signed(self):
        number = self.number()
        return number >> 1 if number & 1 == 0 else -(number >> 1) - 1

    def place_near(self, expected):
        """A place, spelled as its distance from the expected one."""
        place = expected + self.signed()
        if not 0 <= place <= MAX_PLACE:
            self.refuse(f"place {place}")
        return place

    def end(self):
        if self.left():
            self.refuse(f"{self.left()} bytes left over")
