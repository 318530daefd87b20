"""Aligned codes: bytes that resemble a reference. docs/format-aligned.md."""
from collections import namedtuple

from instructions import ONE_BYTE, TWO_BYTES
from mixing import MASK32, STRETCH, mix, power_of_two, squash
from wire import Refused

TEXT, DATA, WORDS, X86 = range(4)
MOST_FULL, MOST_BYTES, MOST_RAW = 32, 256, 16 << 20
ZEROS, LEAD, WAYS = 32, 8, 4
COUNT, TOLD, FLAGS = 11, 4, 7
LINES, RATES = 1 << 20, 1 << 19
NUMBERS = {"b": 1, "B": 1, "s": 1, "j": 1, "w": 2, "e": 3, "J": 4}

# `before` and `after` are places in the reference, or None.
Stretch = namedtuple("Stretch", "length target before after kind")


class Phase:
    """x86-64 code, byte by byte."""

    def __init__(self):
        self.before = [0] * 6
        self.start()

    def start(self):
        self.next = self.map = self.opcode = self.modrm = self.rex = self.vex = self.displacement = self.immediate = 0
        self.letter, self.short, self.short_address, self.bytes, self.fresh = "", 0, False, 0, False

    def step(self, byte):
        self.bytes = min(self.bytes + 1, 255)
        if self.next == 0:
            self.first(byte)
        elif self.next == 1:
            if self.map == 1 and byte in (0x38, 0x3A):
                self.map = 2 if byte == 0x38 else 3
            else:
                self.take_opcode(byte)
        elif self.next == 2:
            self.modrm = byte
            mode, rm = byte >> 6, byte & 7
            self.displacement = 1 if mode == 1 else 4 if mode == 2 or (mode == 0 and rm == 5) else 0
            if mode != 3 and rm == 4:
                self.next = 3
            else:
                self.numbers()
        elif self.next == 3:
            if self.modrm >> 6 == 0 and byte & 7 == 5:
                self.displacement = 4
            self.numbers()
        elif self.next == 4:
            if self.displacement:
                self.displacement -= 1
                self.fresh = self.displacement == 0
            else:
                self.immediate -= 1
                self.fresh = False
            if self.displacement + self.immediate == 0:
                self.end()
        else:
            self.vex -= 1
            if self.letter == "U":
                self.map = 1
            elif self.map == 0:
                self.map = max(byte & 3, 1)
            if self.vex == 0:
                self.next = 1

    def first(self, byte):
        self.letter = ONE_BYTE[byte]
        if self.letter == "P":
            self.short |= byte == 0x66
            self.short_address |= byte == 0x67
        elif self.letter == "R":
            self.rex = byte
        elif self.letter == "0":
            self.map, self.next = 1, 1
        elif self.letter in "UVE":
            self.vex, self.next = "UVE".index(self.letter) + 1, 5
        else:
            self.take_opcode(byte)

    def take_opcode(self, byte):
        self.opcode = byte
        self.letter = (ONE_BYTE[byte], TWO_BYTES[byte], "m", "B")[self.map]
        if self.letter in "mBZfF":
            self.next = 2
        else:
            self.numbers()

    def numbers(self):
        wide, test = self.rex & 8, self.modrm >> 3 & 7 < 2
        word = 2 if self.short and not wide else 4
        letter = self.letter
        self.immediate = NUMBERS.get(letter, 0)
        if letter in "zZ" or (letter == "F" and test):
            self.immediate = word
        elif letter == "t":
            self.immediate = 8 if wide else word
        elif letter == "o":
            self.immediate = 4 if self.short_address else 8
        elif letter == "f" and test:
            self.immediate = 1
        if self.displacement + self.immediate == 0:
            self.end()
        else:
            self.next, self.fresh = 4, True

    def end(self):
        self.before = [self.map << 16 | self.opcode << 8 | self.modrm] + self.before[:5]
        self.start()

    def state(self):
        modrm = self.modrm if self.next in (3, 4) else 0
        rex = 1 + (self.rex >> 3 & 1) if self.rex else 0
        parts = self.next | (self.map & 3) << 3 | self.opcode << 5 | modrm << 13 | (self.displacement & 7) << 21
        return parts | (self.immediate & 7) << 24 | int(self.short) << 27 | rex << 28

    def place(self):
        return self.next | (self.displacement & 3) << 3 | (self.immediate & 3) << 5

    def part(self):
        """The place of format-lz.md, section 2."""
        if self.next == 0:
            return int(self.bytes > 0)
        if self.next == 4:
            is_last = (self.displacement or self.immediate) == 1
            return (4 if is_last else 5) if self.fresh else 7 if is_last else 6
        return (None, 1, 2, 3, None, 1)[self.next]


def make_states():
    most, kept = (41, 28, 13, 7, 5), (0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 7)

    def is_state(zeros, ones):
        less, more = min(zeros, ones), max(zeros, ones)
        return less < 5 and more <= most[less]

    def keeps_last(zeros, ones):
        return min(zeros, ones) > 0 and max(zeros, ones) <= 9

    numbers = []
    for total in range(43):
        for zeros in range(total + 1):
            counts = (zeros, total - zeros)
            if is_state(*counts):
                numbers += [(counts, last) for last in range(2 if keeps_last(*counts) else 1)]
    following = []
    for counts, _ in numbers:
        row = []
        for bit in range(2):
            after = list(counts)
            after[bit] += 1
            if after[1 - bit] > 2:
                after[1 - bit] = kept[min(after[1 - bit], 15)]
            while not is_state(*after):
                if min(after) < 5:
                    less = int(after[0] <= after[1])
                elif after[0] == after[1]:
                    less = 1 - bit
                else:
                    less = int(after[1] < after[0])
                after[less] -= 1
            row.append(numbers.index((tuple(after), bit if keeps_last(*after) else 0)))
        following.append(row)
    return [counts for counts, _ in numbers], following


COUNTS, NEXT = make_states()
SHARES = [655360 // (10 * count + 16) for count in range(1024)]


def learn(rates, at, bit, limit):
    """A rate is a pair: odds of 2^22, and a count."""
    odds, count = rates[at]
    odds += ((4194303 if bit else 0) - odds) * SHARES[count] >> 16
    rates[at] = (odds, count + (count < limit))


def stretch(rate):
    return STRETCH[rate[0] >> 10]


def first_rates():
    """Rates of all states."""
    return [((2 * ones + 1) * 65535 // (2 * (zeros + ones) + 2) << 6, 6) for zeros, ones in COUNTS]


def find_lines(table, lines, hashes, half, pages):
    """Numbers of lines and copies of them; `pages` are lines of the first half."""
    found = []
    for i, hash_ in enumerate(hashes):
        hash_ = mix(hash_, half)
        check, first, best = hash_ & 255, hash_ >> 8 & (lines - 1), None
        if pages:
            first = pages[i][0] & ~63 | first & 63
        for other in range(3):
            line = table.get(first ^ other, [0] * 16)
            if line[0] == check and line[1]:
                found.append((first ^ other, line[:]))
                break
            used = sum(COUNTS[line[1]])
            if best is None or used < best[0]:
                best = (used, first ^ other)
        else:
            found.append((best[1], [check] + [0] * 15))
    return found


class Mixer:
    def __init__(self, inputs, sizes, finals, first):
        self.sets = [[None] * size for size in sizes]
        self.inputs, self.first = inputs, first
        self.finals = [[65536 // len(sizes)] * len(sizes) for _ in range(finals)]

    def mix(self, inputs, rows, final):
        self.used, self.sums, self.values, self.final = [], [], inputs, self.finals[final]
        for set_, row in zip(self.sets, rows):
            if set_[row] is None:
                set_[row] = [self.first] * self.inputs
            weights = set_[row]
            self.used.append(weights)
            total = sum(value * weight for value, weight in zip(inputs, weights)) >> 13
            self.sums.append(min(max(total, -2047), 2047))
        total = sum(a * b for a, b in zip(self.sums, self.final)) >> 16
        total = min(max(total, -2047), 2047)
        self.odds = squash(total)
        return total

    def learn(self, bit):
        error = bit * 65536 - self.odds
        for i, value in enumerate(self.sums):
            self.final[i] = min(max(self.final[i] + (value * error * 3 >> 20), -(1 << 20)), 1 << 20)
        for weights, value in zip(self.used, self.sums):
            error = bit * 65536 - squash(value) >> 1
            if error:
                for i, given in enumerate(self.values):
                    weight = weights[i] + ((given * error >> 14) + 1 >> 1)
                    weights[i] = min(max(weight, -32768), 32767)


class Refinement:
    def __init__(self):
        self.rows = {}

    def odds(self, context, total):
        if context not in self.rows:
            self.rows[context] = [squash((i - 16) * 128) for i in range(33)]
        self.row = self.rows[context]
        place, part = divmod(total + 2048, 128)
        self.at = place + (part >= 64)
        return (self.row[place] * (128 - part) + self.row[place + 1] * part) >> 7

    def learn(self, bit):
        odds = self.row[self.at]
        self.row[self.at] += (65535 - odds) >> 6 if bit else -(odds >> 6)


class Pointer:
    def __init__(self, at=0, misses=0):
        self.at, self.misses = at, misses

    def step(self, seen, byte):
        if self.at:
            self.misses = (self.misses << 1 | (seen[self.at] != byte)) & MASK32
            self.at += 1

    def recent(self, count):
        return bin(self.misses & ((1 << count) - 1)).count("1")


class History:
    """The bytes so far, and the places that tell the next one."""

    def __init__(self, reference, room):
        self.seen = bytearray(ZEROS) + reference
        self.rows = power_of_two((len(self.seen) + room) // WAYS, 1 << 8, 1 << 18)
        self.short, self.long = {}, {}
        self.aligned, self.second, self.similar = Pointer(), Pointer(), Pointer()
        self.matched = self.match_length = self.failed = self.word = self.word_before = 0
        for end in range(ZEROS + 10, len(self.seen) + 1):
            self.insert(end)

    def hashes(self, end):
        last = self.seen[end - 10 : end]
        words = [int.from_bytes(last[at : at + 4], "little") for at in (6, 2)]
        short = mix(words[0], last[5])
        return short >> 8 & (self.rows - 1), mix(mix(*words), last[1] << 8 | last[0]) >> 8 & (self.rows - 1)

    def insert(self, end):
        for table, row in zip((self.short, self.long), self.hashes(end)):
            table[row] = [end] + table.get(row, [])[: WAYS - 1]

    def begin(self, stretch_):
        before = 0 if stretch_.before is None else stretch_.before + ZEROS
        after = 0 if stretch_.after is None else stretch_.after + ZEROS
        if before:
            self.seen += self.seen[before - LEAD : before]
        self.aligned = Pointer(before, 1)
        self.second = Pointer(after if after != before else 0, 0x11)
        self.similar = Pointer()
        self.match_length = self.word = self.word_before = 0

    def told(self, at):
        return self.seen[at] + 1 if 0 < at < len(self.seen) else 0

    def push(self, byte):
        for pointer in (self.aligned, self.second, self.similar):
            pointer.step(self.seen, byte)
        if self.second.recent(16) > 12:
            self.second.at = 0
        if self.match_length:
            if self.seen[self.matched] == byte:
                self.matched += 1
                self.match_length += 1
                if self.match_length > 16:
                    self.failed = 0
            else:
                self.match_length, self.failed = 0, min(self.failed + 1, 15)
        if byte in b"_" or byte >= 128 or chr(byte).isalnum():
            self.word = mix(self.word, byte)
        elif self.word:
            self.word_before, self.word = self.word, 0
        self.seen.append(byte)
        end = len(self.seen)
        if self.match_length < 24:
            short, long = self.hashes(end)
            self.search(self.long.get(long, ()), 10)
            if self.match_length < 16:
                self.search(self.short.get(short, ()), 5)
        self.insert(end)
        self.realign()

    def agreed(self, at, most):
        seen, count = self.seen, 0
        end = len(seen)
        while count < most and count < at and seen[at - 1 - count] == seen[end - 1 - count]:
            count += 1
        return count

    def search(self, places, least):
        for at in places:
            length, aligned = self.agreed(at, 64), self.aligned.at
            nearer = aligned > 0 and abs(at - aligned) < abs(self.matched - aligned)
            if length >= least and (length > self.match_length or (length == self.match_length and nearer)):
                self.matched, self.match_length = at, length

    def realign(self):
        aligned, second, similar = self.aligned, self.second, self.similar
        if aligned.at == 0:
            if self.match_length >= 12:
                self.aligned = Pointer(self.matched, 0x55)
            return
        if aligned.misses & 0xFF == 0:
            return
        if aligned.misses & 1 and aligned.misses & 0xFE and self.shift():
            return
        if second.at and second.misses & 0xFF == 0 and aligned.recent(8) >= 3:
            self.aligned, self.second = second, aligned
        elif similar.at and similar.misses & 0xFFF == 0 and similar.at != aligned.at and aligned.recent(16) >= 5:
            self.jump(similar.at, 0x110)
        elif aligned.recent(8) >= 6 and self.match_length >= 12:
            self.jump(self.matched, 0x55)

    def shift(self):
        at = self.aligned.at
        for distance in range(1, 41):
            for to in (at + distance, at - distance):
                if ZEROS <= to < len(self.seen) and self.agreed(to, 5) == 5:
                    self.jump(to, 0x11)
                    return True
        return False

    def jump(self, at, misses):
        self.second, self.aligned = self.aligned, Pointer(at, misses)


def length_class(length):
    if length < 16:
        return length
    if length < 32:
        return 16 + (length - 16) // 4
    if length < 64:
        return 20 + (length - 32) // 16
    return 22 + (length - 64) // 128 if length < 512 else 26


def run_class(run):
    if run < 16:
        return run
    if run < 32:
        return 16 + (run - 16) // 4
    if run < 256:
        return 20 + (run - 32) // 32
    return 28 if run < 2048 else 29


class MixerState:
    """What codes have learnt."""

    def __init__(self):
        self.table = {}
        self.worth = [first_rates() for _ in range(COUNT)]
        self.records = [[(49152 << 6, 4)] * 2048 for _ in range(TOLD)]
        self.mixer = Mixer(32, (512, 1024, 1024, 512), 1024, 2000)
        self.by_told, self.by_last = Refinement(), Refinement()
        self.flag_rates = {}
        self.flag_worth = [[(squash((i % 33 - 16) * 90) << 6, 20) for i in range(330)] for _ in range(FLAGS)]
        self.flag_mixer = Mixer(16, (512,), 1, 1562)


class BitDecoder:
    """Reads the bits of an arithmetic code."""

    def __init__(self, code):
        self.code, self.low, self.high, self.at = code, 0, MASK32, 4
        self.word = int.from_bytes(code[:4].ljust(4, b"\0"), "big")

    def bit(self, odds):
        middle = self.low + ((self.high - self.low) * odds >> 16)
        bit = int(self.word <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 24 == self.high >> 24:
            self.low, self.high = self.low << 8 & MASK32, self.high << 8 & MASK32 | 0xFF
            self.word = self.word << 8 & MASK32 | (self.code[self.at] if self.at < len(self.code) else 0)
            self.at += 1
        return bit


class Decoder(BitDecoder):
    """Reads the bytes of a code."""

    def __init__(self, mixer, code, reference, stretches, length):
        super().__init__(code)
        self.mixer = mixer
        has_code = any(stretch_.kind == X86 for stretch_ in stretches)
        self.history = History(reference, length + LEAD * len(stretches))
        self.phase, self.full, self.error = Phase(), 0, 0
        self.most_full = MOST_FULL * len(code)
        self.operations = {}
        rows = (len(reference) + length) // 4 if has_code else 0
        self.operation_rows = power_of_two(rows, 1 << 4, 1 << 20)
        if has_code:
            for at, byte in enumerate(reference):
                self.phase.step(byte)
                if self.phase.bytes == 0:
                    self.operations[self.operations_row()] = at + 1 + ZEROS

    def operations_row(self):
        a, b, c, d, e, f = self.phase.before
        return mix(mix(mix(mix(a, b), c), mix(d, e)), f) >> 8 & (self.operation_rows - 1)

    def stretch(self, stretch_):
        self.history.begin(stretch_)
        self.wrong = self.run = self.gap = 0
        self.phase = Phase()
        for at in range(stretch_.length):
            byte = self.byte(stretch_.kind, stretch_.target + at)
            self.history.push(byte)
            if stretch_.kind == X86:
                self.phase.step(byte)
                if self.phase.bytes == 0:
                    self.find_similar()

    def find_similar(self):
        row, similar = self.operations_row(), self.history.similar
        place = self.operations.get(row, 0)
        if place and (similar.at == 0 or similar.recent(16) > 6):
            self.history.similar = Pointer(place, 0x1111)
        self.operations[row] = len(self.history.seen)

    def byte(self, kind, at):
        history = self.history
        matched = history.matched if history.match_length else 0
        told = [history.told(place) for place in (history.aligned.at, history.second.at, matched, history.similar.at)]
        place, pattern = None, 0
        if told[0] and history.aligned.misses & 0xFFFF == 0:
            place, expected = history.aligned.at, told[0] - 1
        elif history.match_length >= 32:
            place, expected = matched, told[2] - 1
        if place is not None:
            is_match = not (told[0] and history.aligned.misses & 0xFFFF == 0)
            if self.flag(kind, at, told, expected, history.told(place + 1), is_match):
                return expected
            pattern = (expected + self.error & 255) | 256
        self.full += 1
        if self.full > self.most_full:
            raise Refused("an aligned code with too many bytes of the full path")
        byte = self.full_byte(kind, at, told, pattern)
        if place is not None:
            self.error = byte - expected & 255
        else:
            self.wrong = self.wrong << 1 & MASK32
            self.run = self.run + 1 if told[0] == byte + 1 else 0
        return byte

    def flag(self, kind, at, told, byte, following, is_match):
        mixer, seen = self.mixer, self.history.seen
        agreement = 0
        for shift, other in ((0, told[2]), (2, told[1])):
            agreement |= (0 if other == 0 else 1 if other == byte + 1 else 2) << shift
        agreement |= int(is_match) << 4
        run = run_class(self.run)
        column = self.wrong >> 3 & 1 | (self.wrong >> 7 & 1) << 1 | (self.wrong >> 15 & 1) << 2
        column |= (self.wrong >> 23 & 1) << 3 | (at & 7) << 4
        contexts = (
            run | kind << 8 | agreement << 16,
            byte | seen[-1] << 8 | following << 16,
            mix(byte | seen[-1] << 8, seen[-2] | seen[-3] << 8),
            mix(self.phase.state() if kind == X86 else 1 << 31, byte),
            column | (self.run < 8) << 8,
            self.run | self.gap << 8 if self.run < 255 else 255,
            mix(agreement | min(run, 20) << 8, byte),
        )
        inputs, used = [], []
        for i, context in enumerate(contexts):
            slot = mix(context, i + 1) & (RATES - 1)
            rate = mixer.flag_rates.get(slot, (1 << 21, 0))
            place, values = None, (0, 0)
            if rate[1]:
                stretched, count = stretch(rate), rate[1]
                place = min(max((stretched + 64 >> 7) + 16, 0), 32)
                place += 33 * (count if count < 6 else 6 if count < 10 else 7 if count < 20 else 8 if count < 60 else 9)
                values = (stretched * min(count, 16) >> 6, stretch(mixer.flag_worth[i][place]) >> 1)
            inputs += values
            used.append((slot, place))
        mixer.flag_mixer.mix(inputs + [128, 0], [min(run // 2, 15) | agreement << 4], 0)
        bit = self.bit(min(max(mixer.flag_mixer.odds, 16), 65520))
        for i, (slot, place) in enumerate(used):
            mixer.flag_rates.setdefault(slot, (1 << 21, 0))
            learn(mixer.flag_rates, slot, bit, 1000)
            if place is not None:
                learn(mixer.flag_worth[i], place, bit, 500)
        mixer.flag_mixer.learn(bit)
        self.wrong = (self.wrong << 1 | 1 - bit) & MASK32
        if bit:
            self.run += 1
        else:
            self.gap, self.run = min(self.run, 255), 0
        return bit

    def contexts(self, kind, at, told, pattern):
        history, seen = self.history, self.history.seen
        aligned, second, matched, _ = told
        one = seen[-1]
        following = history.told(history.aligned.at + 1) if aligned else 0
        length, misses = min(length_class(history.match_length), 15), history.aligned.misses & 7
        last = int.from_bytes(seen[-1:-5:-1], "little")
        found = [
            one, last & 0xFFFF, aligned | second << 9 | misses << 18, mix(aligned | one << 9, following),
            mix(matched | length << 9, one), pattern or mix(history.word, one),
        ]
        if kind == TEXT:
            found += [
                last & 0xFFFFFF, mix(last, seen[-5]), mix(history.word, history.word_before), mix(seen[-8], one),
                mix(aligned | second << 9, last & 0xFFFF),
            ]
        elif kind == DATA:
            found += [
                last & 0x00FFFF00, mix(seen[-8], at & 7), mix(one, at & 7 | 8), mix(seen[-16] | seen[-24] << 8, at & 7),
                last & 0xFF0000FF,
            ]
        elif kind == WORDS:
            phase = at & 3
            start = len(seen) - phase
            first, then = (int.from_bytes(seen[start - 4 * k : start - 4 * k + 4], "little") for k in (1, 2))
            begun = (last & (1 << 8 * phase) - 1) | phase << 24
            found += [
                begun, mix(begun, first >> 21 | 1 << 16), mix(begun, mix(first >> 21, then >> 21)),
                mix(begun, first & 0x1F | (then & 0x1F) << 8), mix(begun, aligned),
            ]
        else:
            state, before = self.phase.state(), self.phase.before
            found += [
                last & 0xF8F8F8F8, last & 0xFF0000FF, mix(state, self.phase.bytes), mix(state, before[0] | 1 << 24),
                mix(mix(state, before[0] | 2 << 24), before[1]),
            ]
        salt = kind * 32 + (16 if pattern else 0)
        return [mix(context, salt + i + 1) for i, context in enumerate(found)]

    def full_byte(self, kind, at, told, pattern):
        history, mixer = self.history, self.mixer
        hashes = self.contexts(kind, at, told, pattern)
        current = find_lines(mixer.table, LINES, hashes, 0, None)
        wrong = int(pattern > 0)
        mode, length = (kind & 1) << 9 | wrong << 8, length_class(history.match_length)
        records = [pointer.misses & 255 | mode for pointer in (history.aligned, history.second, history.similar)]
        records.insert(2, length | history.failed << 5 | wrong << 9)
        place = (0, at & 7 | 16, at & 3 | 8, self.phase.place())[kind]
        aligned, last, partial = history.aligned.misses & 3, history.seen[-1], 1
        for done in range(8):
            depth = done & 3
            within = (1 << depth) + partial % (1 << depth)
            bits = [None if byte == 0 or byte - 1 + 256 >> 8 - done != partial else byte - 1 >> 7 - done & 1 for byte in told]
            inputs = []
            for worth, (_, line) in zip(mixer.worth, current):
                rate = worth[line[within]]
                inputs += (stretch(rate) >> 1, (rate[0] >> 6) - 32768 >> 7)
            for row, record, bit in zip(mixer.records, records, bits):
                if bit is None:
                    inputs += (0, 0)
                else:
                    sign = 1 if bit else -1
                    inputs += (sign * (stretch(row[record]) >> 1), sign * ((row[record][0] >> 6) - 32768 >> 7))
            first, _, matched, _ = (0 if bit is None else 1 + bit for bit in bits)
            known = sum(line[within] > 0 for _, line in current) // 3
            rows = (
                partial | wrong << 8,
                (1 + length * 14 // 26 if matched else 0) | (1 + aligned if first else 0) << 4 | wrong << 7 | known << 8,
                place | done << 7,
                last | (done > 3) << 8,
            )
            total = mixer.mixer.mix(inputs + [128, 0], rows, rows[2])
            refined = mixer.by_told.odds(partial | first << 8 | (matched > 0) << 10, total)
            refined += mixer.by_last.odds(mix(partial | last << 8, 0) & 2047, total)
            bit = self.bit(min(max(mixer.mixer.odds + refined + refined // 2 + 2 >> 2, 32), 65504))
            for worth, (_, line) in zip(mixer.worth, current):
                state = line[within]
                learn(worth, state, bit, 1000)
                line[within] = NEXT[state][bit]
            for row, record, told_bit in zip(mixer.records, records, bits):
                if told_bit is not None:
                    learn(row, record, told_bit == bit, 255)
            mixer.mixer.learn(bit)
            mixer.by_told.learn(bit)
            mixer.by_last.learn(bit)
            partial = partial << 1 | bit
            if done & 3 == 3:
                mixer.table.update(current)
            if done == 3:
                current = find_lines(mixer.table, LINES, hashes, partial, current)
        return partial & 255


def unpack(mixer, code, reference, stretches):
    """Unpacks the bytes of all stretches; the mixer state learns from them."""
    length = sum(stretch_.length for stretch_ in stretches)
    if length > min(MOST_BYTES * len(code), MOST_RAW):
        raise Refused(f"an aligned code of {length} bytes")
    decoder, raw = Decoder(mixer, code, reference, stretches, length), bytearray()
    for stretch_ in stretches:
        decoder.stretch(stretch_)
        raw += decoder.history.seen[len(decoder.history.seen) - stretch_.length :]
    return bytes(raw)
