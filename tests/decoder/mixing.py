"""Coder 3 of packs: an arithmetic code with mixed predictions. docs/format-mixing.md."""

SQUASHED = [int(word) for word in """
    22 25 28 32 36 41 47 53 60 68 77 87 98 111 126 143 162 184 208 236 267 302 342 387 439 497 562 636 720 815 922 1042
    1179 1333 1506 1701 1921 2168 2446 2758 3108 3500 3938 4427 4971 5577 6249 6992 7812 8714 9702 10782 11955 13226 14595
    16062 17625 19282 21025 22849 24743 26695 28693 30723 32768 34813 36843 38841 40793 42687 44511 46254 47911 49474 50941
    52310 53581 54754 55834 56822 57724 58544 59287 59959 60565 61109 61598 62036 62428 62778 63090 63368 63615 63835 64030
    64203 64357 64494 64614 64721 64816 64900 64974 65039 65097 65149 65194 65234 65269 65300 65328 65352 65374 65393 65410
    65425 65438 65449 65459 65468 65476 65483 65489 65495 65500 65504 65508 65511 65514""".split()]
RATE = [128, 90, 64, 50, 42, 36, 31, 27, 25, 23, 21, 20, 19, 18, 17, 16]
SURE = [0, 4, 6, 8, 10, 11, 12, 13, 14, 14, 15, 15, 15, 16, 16, 16]
CONTEXTS = range(10)
MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


def mix(a, b):
    product = ((a << 32 | b) * 0x9E3779B97F4A7C15) & MASK64
    return ((product ^ product >> 29) * 0xBF58476D1CE4E5B9 & MASK64) >> 32


def squash(x):
    place, rest = divmod(min(max(x, -2047), 2047) + 2048, 32)
    return (SQUASHED[place] * (32 - rest) + SQUASHED[place + 1] * rest) >> 5


def stretch_table():
    table, x = [], -2047
    for odds in range(4096):
        while x < 2047 and squash(x) >> 4 < odds:
            x += 1
        table.append(x)
    return table


STRETCH = stretch_table()


def power_of_two(least, lowest, highest):
    value = 1
    while value < least:
        value *= 2
    return min(max(value, lowest), highest)


class Model:
    """What has been seen, and what it says of the next bit."""

    def __init__(self, length):
        self.seen = bytearray()
        self.partial = 1
        self.lines = [None] * power_of_two(10 * length, 1 << 8, 1 << 20)
        self.weights = [[8192] * 22 for _ in range(288)]
        self.places = [0] * power_of_two(length, 1 << 8, 1 << 18)
        self.matched = self.match_length = 0
        self.match_odds = [32768] * 64
        self.refined = [squash((i % 33 - 16) * 128) for i in range(1024 * 33)]
        self.number = self.number_before = 0
        self.set_contexts()

    def within(self):
        done = (self.partial.bit_length() - 1) % 4
        return (1 << done) + self.partial % (1 << done)

    def expected(self):
        if self.match_length == 0:
            return None
        byte, done = self.seen[self.matched] + 256, self.partial.bit_length() - 1
        return byte >> (7 - done) & 1 if byte >> (8 - done) == self.partial else None

    def odds(self):
        self.slot, self.guess, inputs = self.within(), self.expected(), []
        for line in self.current:
            slot = line[self.slot]
            odds = STRETCH[slot >> 4]
            inputs += [odds if slot & 15 else 0, odds * SURE[slot & 15] >> 4]
        if self.guess is None:
            inputs.append(0)
        else:
            odds = STRETCH[self.match_odds[min(self.match_length, 63)] >> 4]
            inputs.append(odds if self.guess else -odds)
        inputs.append(256)
        first = 0 if self.guess is None else 1 + 2 * (min(self.match_length, 31) // 4) + self.guess
        self.inputs, self.sets, self.said = inputs, (first, 32 + self.partial), []
        both = 0
        for number in self.sets:
            total = sum(a * b for a, b in zip(inputs, self.weights[number])) >> 16
            total = min(max(total, -2047), 2047)
            self.said.append(squash(total))
            both += total
        total = both >> 1
        last = self.seen[-1] if self.seen else 0
        context = ((last * 0x9E5) ^ (self.partial * 4)) % 1024
        place, part = divmod(total + 2048, 128)
        at = context * 33 + place
        corrected = (self.refined[at] * (128 - part) + self.refined[at + 1] * part) >> 7
        self.refining = at + (part >= 64)
        return min(max((squash(total) * 3 + corrected + 3) // 4, 24), 65512)

    def learn(self, bit):
        wanted = 4095 if bit else 0
        for line in self.current:
            count, odds = line[self.slot] & 15, line[self.slot] >> 4
            odds += ((wanted - odds) * RATE[count] + 128) >> 8
            line[self.slot] = odds << 4 | min(count + 1, 15)
        if self.guess is not None:
            at = min(self.match_length, 63)
            if self.guess == bit:
                self.match_odds[at] += (65535 - self.match_odds[at]) >> 6
            else:
                self.match_odds[at] -= self.match_odds[at] >> 6
                self.match_length = 0
        for number, said in zip(self.sets, self.said):
            step = (bit * 65536 - said) >> 2
            self.weights[number] = [
                min(max(weight + (value * step + 4096 >> 13), -(1 << 22)), 1 << 22)
                for weight, value in zip(self.weights[number], self.inputs)
            ]
        refined = self.refined[self.refining]
        self.refined[self.refining] += (65535 - refined) >> 6 if bit else -(refined >> 6)
        self.partial = self.partial * 2 + bit
        if 16 <= self.partial < 32:
            self.find_lines(self.partial)

    def take_byte(self):
        byte = self.partial & 255
        self.partial = 1
        self.seen.append(byte)
        if byte < 0x80:
            self.number_before, self.number = (self.number << 8 | byte) & MASK32, 0
        else:
            self.number = (self.number << 8 | byte) & 0xFFFFFF
        if self.match_length > 0:
            self.matched += 1
            self.match_length += 1
        if len(self.seen) >= 5:
            self.find_match()
        self.set_contexts()

    def find_match(self):
        seen = self.seen
        at = mix(int.from_bytes(seen[-5:-1], "little"), seen[-1]) >> 8 & (len(self.places) - 1)
        if self.match_length == 0:
            self.matched = self.places[at]
            equal = 0
            while equal < min(32, self.matched) and seen[self.matched - 1 - equal] == seen[-1 - equal]:
                equal += 1
            self.match_length = equal if equal >= 5 else 0
        self.places[at] = len(seen)

    def set_contexts(self):
        back = [0] * max(0, 6 - len(self.seen)) + list(self.seen[-6:])
        last = int.from_bytes(bytes(back[2:]), "big")
        contexts = [
            0, last & 0xFF, last & 0xFFFF, last & 0xFFFFFF, last, mix(last, back[1] * 256 + back[0]), last & 0x00FFFF00,
            mix(self.number, self.number_before), mix(last & 0xF8F8F8F8, 9), mix(last & 0xFF0000FF, 10),
        ]
        self.hashes = [mix(context, i + 1) for i, context in enumerate(contexts)]
        self.find_lines(0)

    def find_lines(self, half):
        self.current = [self.find_line(mix(value, half)) for value in self.hashes]

    def find_line(self, value):
        check, first = value & 0xFFFF, value >> 8 & (len(self.lines) - 1)
        pair = [self.line(first), self.line(first ^ 1)]
        for line in pair:
            if line[0] == check:
                return line
        worse = pair[0] if pair[0][1] & 15 <= pair[1][1] & 15 else pair[1]
        worse[:] = [check] + [0x8000] * 15
        return worse

    def line(self, number):
        """Lines come to be when they are first looked at."""
        if self.lines[number] is None:
            self.lines[number] = [0x8000] * 16
        return self.lines[number]


def unpack(packed, length):
    """Unpacks a stream of this length."""
    model = Model(length)
    low, high, word, at = 0, MASK32, int.from_bytes(packed[:4].ljust(4, b"\0"), "big"), 4
    for _ in range(length):
        for _ in range(8):
            middle = low + ((high - low) * model.odds() >> 16)
            bit = int(word <= middle)
            if bit:
                high = middle
            else:
                low = middle + 1
            while low >> 24 == high >> 24:
                low = low << 8 & MASK32
                high = (high << 8 & MASK32) | 0xFF
                word = (word << 8 & MASK32) | (packed[at] if at < len(packed) else 0)
                at += 1
            model.learn(bit)
        model.take_byte()
    return bytes(model.seen)
