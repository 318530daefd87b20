"""Coder 3 of packs, model 0: mixed streams. docs/format-mixing.md."""
from aligned import COUNTS, NEXT, BitDecoder, Mixer, Refinement, find_lines, first_rates, learn, stretch
from mixing import MASK32, mix, power_of_two

CONTEXTS, MOST_PLACES = 14, 7


class StreamMixer:
    """What streams have taught."""

    def __init__(self):
        self.worth = [first_rates() for _ in range(CONTEXTS)]
        self.matches = [(49152 << 6, 4)] * 32
        self.mixer = Mixer(2 * CONTEXTS + 3, (256, 512, 64), 32, 1400)
        self.by_place, self.by_number = Refinement(), Refinement()


class Decoder(BitDecoder):
    """Reads the bytes of a stream."""

    def __init__(self, mixer, packed, length):
        super().__init__(packed)
        self.mixer, self.seen, self.table, self.followers = mixer, bytearray(), {}, {}
        self.lines = power_of_two(CONTEXTS * length, 1 << 8, 1 << 20)
        self.places, self.rows = {}, power_of_two(length, 1 << 8, 1 << 18)
        self.matched = self.match_length = 0
        self.last = self.number = self.place = 0
        self.before = (0, 0, 0)

    def contexts(self):
        last, begun, (one, two, three) = self.last, mix(self.number, self.place), self.before
        classes = one.bit_length() | two.bit_length() << 8 | three.bit_length() << 16
        found = [
            self.place, last & 0xFF, last & 0xFFFF, last & 0xFFFFFF, last, last & 0x00FFFF00, last & 0xF8F8F8F8, last & 0xFF0000FF,
            begun, mix(begun, one), mix(begun, two), mix(begun, self.followers.get(mix(one, 0) & 0xFFFF, 0)),
            mix(begun, one.bit_length()), mix(begun, classes),
        ]
        return [mix(context, i + 1) for i, context in enumerate(found)]

    def byte(self):
        mixer, hashes, place = self.mixer, self.contexts(), self.place
        current = find_lines(self.table, self.lines, hashes, 0, None)
        length = self.match_length if self.match_length < 16 else 16 + (min(self.match_length, 400) - 16) // 32
        expected = self.seen[self.matched] + 256 if self.match_length else 0
        number, partial = self.before[0] & 0xFFFF, 1
        for done in range(8):
            depth = done & 3
            within = (1 << depth) + partial % (1 << depth)
            inputs, known = [], 0
            for worth, (_, line) in zip(mixer.worth, current):
                rate = worth[line[within]]
                inputs += (stretch(rate) >> 1, (rate[0] >> 6) - 32768 >> 7)
                known += line[within] > 0
            guess = expected >> (7 - done) & 1 if expected >> (8 - done) == partial else None
            rate, sign = mixer.matches[length], {None: 0, 0: -1, 1: 1}[guess]
            inputs += (sign * (stretch(rate) >> 1), sign * ((rate[0] >> 6) - 32768 >> 7), 128)
            by_match = 0 if guess is None else min(length, 30) + 1
            near = min(place, 3)
            rows = (partial, by_match | near << 5 | min(known // 4, 3) << 7, place | done << 3)
            total = mixer.mixer.mix(inputs, rows, near << 3 | done)
            refined = mixer.by_place.odds(partial | near << 8, total)
            refined += mixer.by_number.odds(mix(partial | number << 8, place) & 1023, total)
            bit = self.bit(min(max(2 * mixer.mixer.odds + refined + 2 >> 2, 32), 65504))
            partial = partial << 1 | bit
            for worth, (_, line) in zip(mixer.worth, current):
                state = line[within]
                learn(worth, state, bit, 250)
                line[within] = NEXT[state][bit]
            if depth == 3:
                self.table.update(current)
            if done == 3:
                current = find_lines(self.table, self.lines, hashes, partial, current)
            if guess is not None:
                learn(mixer.matches, length, guess == bit, 255)
            mixer.mixer.learn(bit)
            mixer.by_place.learn(bit)
            mixer.by_number.learn(bit)
        return partial & 255

    def push(self, byte):
        if self.match_length:
            is_right = self.seen[self.matched] == byte
            self.matched, self.match_length = (self.matched + 1, self.match_length + 1) if is_right else (0, 0)
        self.seen.append(byte)
        self.last = self.last << 8 & MASK32 | byte
        self.number, self.place = self.number << 8 & MASK32 | byte, min(self.place + 1, MOST_PLACES)
        if byte < 0x80:
            one, two, _ = self.before
            self.followers[mix(one, 0) & 0xFFFF] = self.number
            self.before, self.number, self.place = (self.number, one, two), 0, 0
        if len(self.seen) >= 5:
            self.find_match()

    def find_match(self):
        seen = self.seen
        row = mix(int.from_bytes(seen[-5:-1], "little"), seen[-1]) >> 8 & (self.rows - 1)
        if self.match_length == 0:
            before, equal = self.places.get(row, 0), 0
            while equal < min(64, before) and seen[before - 1 - equal] == seen[-1 - equal]:
                equal += 1
            if equal >= 5:
                self.matched, self.match_length = before, equal
        self.places[row] = len(seen)


def unpack(mixer, packed, length):
    """Unpacks a stream of this length behind those before."""
    decoder = Decoder(mixer, packed, length)
    for _ in range(length):
        decoder.push(decoder.byte())
    return bytes(decoder.seen)
