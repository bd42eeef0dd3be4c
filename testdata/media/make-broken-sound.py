"""Writes broken-sound.mp4: clip.mp4 with its sound's sample entry renamed to a codec nobody has."""
data = bytearray(open('clip.mp4', 'rb').read())
at = data.rindex(b'mp4a')
data[at:at + 4] = b'zzzz'
at = data.index(b'esds')
data[at:at + 4] = b'zzzz'
open('broken-sound.mp4', 'wb').write(data)
