"""Codes of corrections: which predicted bytes are wrong, and what they are. docs/format-corrections.md."""
from aligned import X86, BitDecoder, Mixer, Phase, Refinement, learn, run_class, stretch
from mixing import MASK32, mix, squash
from wire import Refused

BLOCK, MOST_OPEN, MOST_WRONG, FREE = 64, 256, 32, 64


class MixedRates:
    """Odds of a bit by contexts."""

    def __init__(self, contexts, rates, limit, sizes):
        self.rates, self.mask, self.limit, self.contexts = {}, rates - 1, limit, contexts
        self.worth = [[(squash((i % 33 - 16) * 90) * 64, 20) for i in range(330)] for _ in range(contexts)]
        self.mixer, self.refinement = Mixer(2 * contexts + 1, sizes, 1, 1500), Refinement()

    def bit(self, decoder, contexts, rows, refined):
        inputs, used = [], []
        for i, context in enumerate(contexts):
            slot = mix(context & MASK32, i + 1) & self.mask
            rate = self.rates.get(slot, (1 << 21, 0))
            place, values = None, (0, 0)
            if rate[1]:
                stretched, count = stretch(rate), rate[1]
                place = min(max((stretched + 64 >> 7) + 16, 0), 32)
                place += 33 * (count if count < 6 else 6 if count < 10 else 7 if count < 20 else 8 if count < 60 else 9)
                values = (stretched * min(count, 16) >> 6, stretch(self.worth[i][place]) >> 1)
            inputs += values
            used.append((slot, place))
        total = self.mixer.mix(inputs + [128], rows, 0)
        odds = self.mixer.odds + self.refinement.odds(refined, total) + 1 >> 1
        bit = decoder.bit(min(max(odds, 16), 65520))
        for i, (slot, place) in enumerate(used):
            self.rates.setdefault(slot, (1 << 21, 0))
            learn(self.rates, slot, bit, self.limit)
            if place is not None:
                learn(self.worth[i], place, bit, 500)
        self.mixer.learn(bit)
        self.refinement.learn(bit)
        return bit


class State:
    """What codes have taught."""

    def __init__(self):
        self.blocks = MixedRates(9, 1 << 18, 255, (1024, 64))
        self.flags = MixedRates(14, 1 << 20, 1000, (256, 1024))
        self.values = MixedRates(14, 1 << 20, 255, (1024, 512))


class Corrector(BitDecoder):
    def __init__(self, state, code, target):
        super().__init__(code)
        self.state, self.target = state, target
        self.blocks = self.clean = self.clean_before = self.in_block = self.wrong = self.since = 0
        self.gap = self.gap_before = self.last_error = self.open = self.run = self.run_before = 0
        self.errors, self.phase = {}, Phase()

    def all(self, exact, kind_at):
        count = wrong = 0
        for start in range(0, len(self.target), BLOCK):
            places = range(start, min(start + BLOCK, len(self.target)))
            open_ = [at for at in places if not exact[at]]
            kind = kind_at(start)
            has_wrong = bool(open_) and self.block(places, len(places) - len(open_), kind)
            if open_:
                self.blocks = (self.blocks << 1 | has_wrong) & MASK32
            if not has_wrong:
                self.clean += bool(open_)
                for at in places:
                    self.right(at, kind)
                continue
            self.clean_before, self.clean, found = self.clean, 0, 0
            for at in places:
                if exact[at]:
                    self.right(at, kind)
                    continue
                count += 1
                if (at == open_[-1] and not found) or self.is_wrong(at, places[-1] + 1, kind, found):
                    self.correct(at, places[-1] + 1, kind)
                    found += 1
                else:
                    self.right(at, kind)
            wrong += found
            self.in_block = min(found, 15)
            if count > MOST_OPEN * len(self.code) + FREE or wrong > MOST_WRONG * len(self.code) + FREE:
                raise Refused("a code of corrections that is too short for its bytes")

    def take(self, at, kind):
        if kind == X86:
            self.phase.step(self.target[at])

    def right(self, at, kind):
        self.wrong, self.since, self.open = self.wrong << 1 & MASK32, self.since + 1, 0
        self.take(at, kind)

    def block(self, places, exact, kind):
        blocks, clean, before = self.blocks, run_class(self.clean), run_class(self.clean_before)
        two = self.target[places[0]] | self.target[places[len(places) // 2]] << 8
        contexts = (
            blocks & 1 | kind << 8, blocks & 0xFF | kind << 16, blocks & 0xFFFF, clean | before << 8 | kind << 16,
            clean | self.in_block << 8 | kind << 24, mix(two, kind), blocks & 15 | exact // 8 << 8 | kind << 16,
            clean | (blocks & 7) << 8, mix(blocks, 3),
        )
        rows = (clean | (blocks & 7) << 5 | kind << 8, kind | (blocks & 15) << 2)
        return self.state.blocks.bit(self, contexts, rows, blocks & 255)

    def scene(self, at, end, kind):
        bytes_ = [self.target[i] if i < end else 0 for i in range(at, at + 4)]
        last = [self.target[at - k] if at >= k else 0 for k in (1, 2, 3)]
        if kind == X86:
            return bytes_, last, self.phase.state(), self.phase.place()
        return bytes_, last, 1 << 31 | at & 7, at & 7

    def shared(self, bytes_, last):
        x, x1, x2, x3 = bytes_
        return (
            mix(x | x1 << 8 | x2 << 16 | x3 << 24, self.open), mix(x1 | x2 << 8 | 1 << 24, self.open),
            mix(mix(x | x1 << 8 | x2 << 16, last[0] | last[1] << 8), self.open),
        )

    def is_wrong(self, at, end, kind, found):
        bytes_, last, state, place = self.scene(at, end, kind)
        x, x1, x2, _ = bytes_
        one, two, three = last
        error = lambda k: self.errors.get(at - k, 0)
        since, wrong = min(self.since, 255), self.wrong
        contexts = (
            x | one << 8 | x1 << 16, mix(x | one << 8, two | three << 8), mix(state, x), mix(state, (wrong & 0xFF) << 8),
            wrong & 0xFFF | kind << 16, mix(mix(error(1) | error(2) << 8 | error(3) << 16, x), kind),
            mix(error(8) | error(4) << 8 | error(16) << 16, kind), mix(x | x1 << 8 | x2 << 16, kind | one << 8),
            mix(mix(self.run, min(since, 63)), kind), mix(since | self.gap << 8 | self.gap_before << 16, kind),
            mix(state, mix(x | one << 8, x1)),
        ) + self.shared(bytes_, last)
        apart = 0 if kind == X86 else 512
        rows = (run_class(self.since) // 2 | kind << 4 | min(found, 2) << 6, place | (wrong & 3) << 7 | apart)
        return self.state.flags.bit(self, contexts, rows, x | kind << 8)

    def correct(self, at, end, kind):
        bytes_, last, state, place = self.scene(at, end, kind)
        x, x1, _, _ = bytes_
        error = lambda k: self.errors.get(at - k, 0)
        since, told = min(self.since, 255), self.last_error
        contexts = (
            kind, told | 1 << 16, mix(x, kind), mix(state, 5), error(1) | error(2) << 8 | error(3) << 16 | 1 << 24,
            error(4) | error(8) << 8 | kind << 16, mix(self.run, self.open), mix(self.phase.before[0], state),
            mix(self.run_before, self.open), mix(error(1) | since << 8, told | kind << 8), mix(x | last[0] << 8 | x1 << 16, 7),
        ) + self.shared(bytes_, last)
        by_place = place | (128 if self.since == 0 else 0) | (0 if kind == X86 else 256)
        partial = 1
        for _ in range(8):
            rows = (partial & 255 | kind << 8, by_place)
            found = [mix(context, partial) for context in contexts]
            partial = partial << 1 | self.state.values.bit(self, found, rows, partial & 255 | (self.since > 0) << 8)
        self.note(at, partial & 255)
        self.target[at] = x + partial & 255
        self.take(at, kind)

    def note(self, at, error):
        if self.since:
            self.gap, self.gap_before = min(self.since, 255), self.gap
            self.run, self.run_before = 0, self.run
        self.run, self.open = mix(self.run, error), mix(self.open, error | 256)
        self.last_error, self.wrong, self.since = error, (self.wrong << 1 | 1) & MASK32, 0
        self.errors[at] = error


def read(streams, state, target, exact, kinds):
    """Corrects the bytes of the target, and returns the state behind the code."""
    number = streams.number("patch gaps")
    code = streams.bytes("codes", number // 2)
    if number % 2 == 0:
        state = State()
    elif state is None:
        raise Refused("a code of corrections that goes on with none")

    def kind_at(at):
        return next(kind for end, kind in kinds if at < end)

    Corrector(state, code, target).all(exact, kind_at)
    return state
