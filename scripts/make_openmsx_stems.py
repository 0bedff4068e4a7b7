"""Splits MIDI compositions of OpenMSX into four stems and renders them: real compositions, synthesised sound, in the layout
of MUSDB18-HQ (train, valid and test; a folder a track with mixture, drums, bass, other and vocals).

usage: make_openmsx_stems.py MIDI_FOLDER SOUNDFONT OUT      fluidsynth is needed

Drums are MIDI channel 10; bass the programs 33-40 of General MIDI; "vocals" its voices and leads (53-55, 81-88, 92), mostly
a synthesiser; other is the rest. A note belongs to the program in force when it starts.
"""
import array
import collections
import pathlib
import struct
import subprocess
import sys
import tempfile
import wave

SPLIT = {
    "train": ["5432gone_redfarn", "mighty_giant_run", "ttsong_iii_imuh3", "ultimate_run"],
    "valid": ["ttsong_iv_imuh3"],
    "test": ["flying_scotsman"],
}
STEMS = ["drums", "bass", "other", "vocals"]
RATE = 16000
BASS = range(33, 41)
VOCALS = {53, 54, 55, *range(81, 89), 92}  # counted from 1, as General MIDI does
DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        assert self.at <= len(self.data), "the MIDI file ends early"
        return self.data[self.at - count : self.at]

    def length(self):
        value = 0
        while True:
            (byte,) = self.take(1)
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value


def as_length(value):
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def track_events(data):
    """(tick, event bytes), the status written out in each."""
    source, tick, status = Bytes(data), 0, 0
    while source.at < len(data):
        tick += source.length()
        (first,) = source.take(1)
        if first in (0xF0, 0xF7):
            count = source.length()
            yield tick, bytes([first]) + as_length(count) + source.take(count)
        elif first == 0xFF:
            (kind,) = source.take(1)
            count = source.length()
            yield tick, bytes([first, kind]) + as_length(count) + source.take(count)
        else:
            running = first < 0x80
            if not running:
                status = first
            data_bytes = (bytes([first]) if running else b"") + source.take(DATA_BYTES[status & 0xF0] - running)
            yield tick, bytes([status]) + data_bytes


def read_midi(path):
    source = Bytes(path.read_bytes())
    assert source.take(4) == b"MThd", f"{path} is not a MIDI file"
    header = source.take(*struct.unpack(">I", source.take(4)))
    _, tracks, division = struct.unpack(">HHH", header[:6])
    events = []
    for _ in range(tracks):
        kind, count = struct.unpack(">4sI", source.take(8))
        data = source.take(count)
        if kind == b"MTrk":
            events += track_events(data)
    return division, sorted(events, key=lambda event: event[0])  # stable: tracks keep their order


def stem_of(channel, program):
    if channel == 9:
        return "drums"
    if program in BASS:
        return "bass"
    return "vocals" if program in VOCALS else "other"


def split(events):
    """The events of each stem: its own notes, and all that is no note."""
    stems = {name: [] for name in STEMS}
    program = collections.defaultdict(lambda: 1)
    sounding = collections.defaultdict(collections.deque)
    for tick, event in events:
        kind, channel = event[0] & 0xF0, event[0] & 0x0F
        to = STEMS
        if kind == 0xC0:
            program[channel] = event[1] + 1
        elif kind == 0x90 and event[2] > 0:
            stem = stem_of(channel, program[channel])
            sounding[channel, event[1]].append(stem)
            to = [stem]
        elif kind in (0x80, 0x90):
            notes = sounding[channel, event[1]]
            to = [notes.popleft()] if notes else []
        elif event[:2] == b"\xff\x2f":
            continue  # ends of tracks
        for name in to:
            stems[name].append((tick, event))
    return stems


def write_midi(path, division, events, last_tick):
    body, before = b"", 0
    for tick, event in [*events, (last_tick, b"\xff\x2f\x00")]:
        body += as_length(tick - before) + event
        before = tick
    path.write_bytes(b"MThd" + struct.pack(">IHHH", 6, 0, 1, division) + b"MTrk" + struct.pack(">I", len(body)) + body)


def render(midi, soundfont):
    out = midi.with_suffix(".wav")
    command = ["fluidsynth", "-ni", "-q", "-g", "0.2", "-r", str(RATE), "-R", "0", "-C", "0", "-o", "synth.polyphony=512",
               "-T", "wav", "-O", "s16", "-F", str(out), str(soundfont), str(midi)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with wave.open(str(out)) as sound:
        assert sound.getframerate() == RATE and sound.getnchannels() == 2 and sound.getsampwidth() == 2
        return array.array("h", sound.readframes(sound.getnframes()))


def write_wave(path, samples):
    with wave.open(str(path), "wb") as sound:
        sound.setparams((2, 2, RATE, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())


def main():
    midi_folder, soundfont, out = map(pathlib.Path, sys.argv[1:])
    for part, names in SPLIT.items():
        for name in names:
            division, events = read_midi(midi_folder / f"{name}.mid")
            folder = out / part / name
            folder.mkdir(parents=True)
            stems = {}
            with tempfile.TemporaryDirectory() as work:
                for stem, own in split(events).items():
                    midi = pathlib.Path(work) / f"{stem}.mid"
                    write_midi(midi, division, own, events[-1][0])
                    stems[stem] = render(midi, soundfont)
            longest = max(map(len, stems.values()))
            for stem, samples in stems.items():
                samples.extend([0] * (longest - len(samples)))
                write_wave(folder / f"{stem}.wav", samples)
            sums = [sum(together) for together in zip(*stems.values())]
            assert max(map(abs, sums)) < 32768, f"{name}: the mixture clips"
            write_wave(folder / "mixture.wav", array.array("h", sums))
            print(f"{part} {name}: {longest / 2 / RATE:.1f} s")


if __name__ == "__main__":
    main()
