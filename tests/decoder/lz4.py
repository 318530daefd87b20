"""LZ4 blocks: the decoder, and the encoders of docs/format-lz4.md."""
from wire import Refused

MIDDLE, CHAIN2, CHAIN4, CHAIN8, CHAIN16 = range(5)
MOST_PLAIN = 32 << 20


def decode(block, plain_bytes):
    out, at = bytearray(), 0

    def length(bits):
        nonlocal at
        total = bits
        if bits == 15:
            while True:
                at += 1
                total += block[at - 1]
                if block[at - 1] < 255:
                    break
        return total

    try:
        while True:
            token = block[at]
            at += 1
            count = length(token >> 4)
            if at + count > len(block):
                raise Refused("literals behind an LZ4 block")
            out += block[at : at + count]
            at += count
            if at == len(block):
                if token & 15:
                    raise Refused("an LZ4 block that ends in a match")
                break
            distance = block[at] | block[at + 1] << 8
            at += 2
            count = length(token & 15) + 4
            if not 0 < distance <= len(out) or len(out) + count > plain_bytes:
                raise Refused("a match outside of an LZ4 block")
            for _ in range(count):
                out.append(out[-distance])
    except IndexError:
        raise Refused("an LZ4 block that is cut")
    if len(out) != plain_bytes:
        raise Refused("an LZ4 block of another length")
    return bytes(out)


def encode(number, plain):
    if number > CHAIN16 or len(plain) > MOST_PLAIN:
        raise Refused("an encoder of LZ4 that does not exist, or a content that is too long")
    matches = []
    if len(plain) > 12:
        matches = middle(plain) if number == MIDDLE else Chains(plain, 1 << number).matches()
    out, anchor = bytearray(), 0
    for start, count, distance in matches:
        put(out, plain[anchor:start], count - 4)
        out += distance.to_bytes(2, "little") + rest(count - 4)
        anchor = start + count
    put(out, plain[anchor:], 0)
    return bytes(out)


def put(out, literals, bits):
    out.append(min(len(literals), 15) << 4 | min(bits, 15))
    out += rest(len(literals)) + literals


def rest(length):
    return b"\xff" * ((length - 15) // 255) + bytes([(length - 15) % 255]) if length >= 15 else b""


def common(plain, earlier, later):
    count, most = 0, len(plain) - 5 - later
    while count < most and plain[earlier + count] == plain[later + count]:
        count += 1
    return count


def hash4(plain, at, bits):
    return (int.from_bytes(plain[at : at + 4], "little") * 2654435761 & 0xFFFFFFFF) >> 32 - bits


def hash7(plain, at):
    return ((int.from_bytes(plain[at : at + 7], "little") << 8) * 58295818150454627 & (1 << 64) - 1) >> 50


def middle(plain):
    """Section 3: levels 1 and 2 since release 1.10."""
    fours, sevens, found = {}, {}, []
    last, at, anchor = len(plain) - 12, 0, 0

    def match(place, here):
        if place is None or not 0 < here - place <= 65535:
            return 0, 0
        return common(plain, place, here), here - place

    while at <= last:
        seven, start = hash7(plain, at), at
        place, sevens[seven] = sevens.get(seven), at
        count, distance = match(place, at)
        if count < 4:
            four = hash4(plain, at, 14)
            place, fours[four] = fours.get(four), at
            count, distance = match(place, at)
            if count >= 4 and at < last:
                seven = hash7(plain, at + 1)
                longer, farther = match(sevens.get(seven), at + 1)
                if longer > count:
                    sevens[seven] = at + 1
                    start, count, distance = at + 1, longer, farther
        if count < 4:
            at += 1 + (at - anchor >> 9)
            continue
        while start > anchor and start > distance and plain[start - 1] == plain[start - 1 - distance]:
            start, count = start - 1, count + 1
        sevens[hash7(plain, start + 1)] = at + 1
        sevens[hash7(plain, start + 2)] = at + 2
        fours[hash4(plain, start + 1, 14)] = at + 1
        found.append((start, count, distance))
        at = anchor = start + count
        if at + 6 < len(plain):
            for back in (5, 3, 2):
                if back < 5 or at > 5:
                    sevens[hash7(plain, at - back)] = at - back
            for back in (2, 1):
                fours[hash4(plain, at - back, 14)] = at - back
    return found


class Chains:
    """Section 4: levels 1 to 5 of releases 1.9."""

    def __init__(self, plain, attempts):
        self.plain, self.attempts = plain, attempts
        self.last, self.before, self.next = {}, {}, 0
        self.work = (len(plain) + 1024) * attempts * 32

    def search(self, at, low, longest):
        """The longest match as start, length and distance, or None."""
        for place in range(self.next, at):
            key = hash4(self.plain, place, 15)
            self.before[place] = self.last.get(key)
            self.last[key] = place
        self.next = max(self.next, at)
        plain, best = self.plain, None
        place = self.last.get(hash4(plain, at, 15))
        for _ in range(self.attempts):
            if place is None or at - place > 65535:
                break
            ending = longest - 1
            same = plain[low + ending : low + ending + 2] == plain[place + ending - (at - low) :][:2]
            if same and plain[place : place + 4] == plain[at : at + 4]:
                back = 0
                while back < min(at - low, place) and plain[at - back - 1] == plain[place - back - 1]:
                    back += 1
                count = back + common(plain, place, at)
                self.work -= count
                if self.work < 0:
                    raise Refused("an LZ4 block that takes too much work")
                if count > longest:
                    longest, best = count, (at - back, count, at - place)
            place = self.before[place]
        return best

    def longer(self, match, back):
        start, count, _ = match
        return self.search(start + count - back, start, count) if start + count <= len(self.plain) - 12 else None

    def matches(self):
        self.found, at = [], 0
        while at <= len(self.plain) - 12:
            first = self.search(at, at, 3)
            at = at + 1 if first is None else self.overlapping(first)
        return self.found

    def overlapping(self, first):
        kept = first
        while True:
            second = self.longer(first, 2)
            if second is None:
                return self.write(first)
            if kept[0] < first[0] and second[0] < first[0] + kept[1]:
                first = kept
            if second[0] - first[0] < 3:
                first = second
                continue
            while True:
                second = trimmed(first, second)
                third = self.longer(second, 3)
                if third is None:
                    self.write((first[0], min(first[1], second[0] - first[0]), first[2]))
                    return self.write(second)
                end = first[0] + first[1]
                if third[0] < end:
                    second = third
                elif third[0] < end + 3:
                    second = cut(second, end)
                    if second[1] < 4:
                        second = third
                    self.write(first)
                    first, kept = third, second
                    break
                else:
                    if second[0] < end and second[0] - first[0] < 18:
                        first = (first[0], short(first, second), first[2])
                        second = cut(second, first[0] + first[1])
                    elif second[0] < end:
                        first = (first[0], second[0] - first[0], first[2])
                    self.write(first)
                    first, second = second, third

    def write(self, match):
        self.found.append(match)
        return match[0] + match[1]


def short(first, second):
    return min(first[1], 18, second[0] + second[1] - 4 - first[0])


def trimmed(first, second):
    return cut(second, first[0] + short(first, second)) if second[0] - first[0] < 18 else second


def cut(match, start):
    """The match without what is before `start`."""
    moved = max(start - match[0], 0)
    return match[0] + moved, max(match[1] - moved, 0), match[2]
