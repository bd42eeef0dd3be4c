"""Writes broken-audio.mp4: clip.mp4 with the sample entry of its audio renamed to an unknown codec."""
data = bytearray(open('clip.mp4', 'rb').read())
at = data.rindex(b'mp4a')
data[at:at + 4] = b'zzzz'
at = data.index(b'esds')
data[at:at + 4] = b'zzzz'
open('broken-audio.mp4', 'wb').write(data)
