#!/bin/sh
# Makes the small media files that the tests decode, in this folder. Needs Debian's ffmpeg (with libx264, libvpx,
# libdav1d's encoder peers), python3 with Pillow for the icon formats. The results are committed; run it again only to
# add a format.
set -eu
cd "$(dirname "$0")"
ff() { ffmpeg -hide_banner -loglevel error -y -fflags +bitexact "$@"; }

# --- pictures: 64 x 48, four colour fields (red, green / blue, grey), so that orientation and channels show
python3 - <<'PY'
from PIL import Image, ImageCms
import struct
im = Image.new('RGB', (64, 48))
px = im.load()
for y in range(48):
    for x in range(64):
        px[x, y] = [(220, 30, 30), (30, 200, 40), (20, 40, 210), (128, 128, 128)][(x >= 32) + 2 * (y >= 24)]
im.save('fields.png', optimize=True)
im.save('fields.jpg', quality=95, subsampling=0)
im.save('fields.webp', lossless=True)
im.save('fields.bmp')
im.save('fields.tiff', compression='tiff_lzw')
im.save('fields.gif')
im.save('fields.sgi')
im.save('fields.jp2', irreversible=False)
im.save('fields.j2k', irreversible=False)
im.convert('P', palette=Image.ADAPTIVE, colors=8).save('palette.png')
im.convert('P', palette=Image.ADAPTIVE, colors=8).save('palette.bmp')
im.convert('L').save('grey.png')
im.convert('CMYK').save('cmyk.jpg', quality=95)
rgba = im.convert('RGBA')
rgba.putalpha(Image.linear_gradient('L').resize((64, 48)))
rgba.save('alpha.png')
rgba.save('alpha.webp', lossless=True)
exif = Image.Exif()
for value in (3, 6, 8, 5):
    exif[0x0112] = value
    im.save(f'exif{value}.jpg', quality=95, subsampling=0, exif=exif)
frames = [im, Image.new('RGB', (64, 48), (0, 0, 0))]
frames[0].save('animated.webp', save_all=True, append_images=frames[1:], lossless=True, duration=100)
frames[0].save('animated.gif', save_all=True, append_images=frames[1:], duration=100)
frames[0].save('sequence.avif', quality=90, save_all=True, append_images=[frames[1]] * 5, duration=100)  # Pillow 11.3 or later
sixteen = Image.new('I;16', (64, 48))
for y in range(48):
    for x in range(64):
        sixteen.putpixel((x, y), x * 1040)
sixteen.save('grey16.png')
square = rgba.resize((48, 48))
square.save('png.ico', sizes=[(16, 16), (48, 48)])
square.save('bitmap.ico', sizes=[(16, 16), (48, 48)], bitmap_format='bmp')
big = im.resize((128, 128), Image.NEAREST)
big.save('png.icns')

# An ICNS of the old kind: run lengths and a separate mask.
def packed(plane):
    out = b''
    for i in range(0, len(plane), 128):
        piece = plane[i:i + 128]
        out += bytes([len(piece) - 1]) + piece
    return out
small = im.resize((32, 32), Image.NEAREST)
body = b''.join(packed(band.tobytes()) for band in small.split())
mask = bytes([255] * 1024)
entries = b'il32' + struct.pack('>I', 8 + len(body)) + body + b'l8mk' + struct.pack('>I', 8 + len(mask)) + mask
open('packed.icns', 'wb').write(b'icns' + struct.pack('>I', 8 + len(entries)) + entries)
PY
ff -f lavfi -i color=red:s=64x48:d=1 -frames:v 1 -pix_fmt rgb48be deep.png

# --- sound: a 440 Hz tone at half scale, 1 s
tone="-f lavfi -i sine=frequency=440:sample_rate=44100:duration=1,volume=4"
ff $tone -ac 2 -ar 44100 tone-44100-stereo.mp3
ff $tone -ac 1 -ar 16000 tone.wav
ff $tone -ac 1 -ar 8000 -c:a pcm_mulaw mulaw.wav
ff $tone -ac 1 -ar 11025 -c:a pcm_u8 odd-rate.wav
ff $tone -ac 1 -ar 48000 -c:a pcm_f32le float.wav
ff $tone -ac 6 -ar 48000 -c:a flac surround.flac
ff $tone -ac 2 -ar 44100 -c:a aac -f adts tone.aac
ff $tone -ac 2 -ar 44100 -c:a aac tone.m4a
ff $tone -ac 1 -ar 48000 -c:a libopus tone.opus
ff $tone -ac 1 -ar 44100 -c:a libvorbis tone.ogg
ff $tone -ac 2 -ar 44100 -c:a wmav2 tone.wma
ff $tone -ac 1 -ar 44100 -c:a aac -f 3gp tone.3gp
ff $tone -ac 1 -ar 44100 -c:a flac tone.flac
ff $tone -i fields.jpg -map 0 -map 1 -c:v copy -c:a libmp3lame -ac 1 -disposition:v attached_pic -id3v2_version 3 cover-art.mp3
ff -f lavfi -i anullsrc=r=16000:cl=mono -t 0 -c:a pcm_s16le empty.wav
python3 make-amr.py

# --- clips: 64 x 48, 2 s at 10 frames a second, the grey level is the frame's number; 440 Hz beside it
video="-f lavfi -i color=black:s=64x48:r=10:d=2,format=gray,geq=lum='N*12+8',format=yuv420p"
sound="-f lavfi -i sine=frequency=440:sample_rate=44100:duration=2,volume=4"
x264="-c:v libx264 -preset veryfast -crf 12 -bf 2 -g 10"
ff $video $sound $x264 -c:a aac clip.mp4
ff $video $sound $x264 -c:a aac clip.mov
ff $video $sound $x264 -c:a aac clip.mkv
ff $video $sound $x264 -c:a aac clip.flv
ff $video $sound $x264 -c:a aac -f mpegts clip.m2ts
ff $video $sound -c:v mpeg4 -q:v 2 -c:a libmp3lame clip.avi
ff $video $sound -c:v wmv2 -q:v 2 -c:a wmav2 clip.wmv
ff $video $sound -c:v libvpx-vp9 -crf 20 -b:v 0 -c:a libopus clip.webm
ff $video $x264 silent.mp4
ff $video $sound -c:v libx265 -crf 12 -x265-params log-level=error -tag:v hvc1 -c:a aac hevc.mp4
ff $video $sound -c:v libaom-av1 -crf 20 -cpu-used 8 -c:a aac av1.mp4
ff -i clip.mp4 -c copy -f mp4 -movflags frag_keyframe+empty_moov fragmented.mp4
# a track header that says "turn by 90 degrees"; red is top left of the stored picture
ff -loop 1 -framerate 10 -i fields.png -t 2 $x264 -pix_fmt yuv420p upright.mp4
ff -display_rotation 90 -i upright.mp4 -c copy rotated.mp4 2>/dev/null || ff -i upright.mp4 -c copy -metadata:s:v:0 rotate=270 rotated.mp4
ff -loop 1 -framerate 10 -i fields.png -t 2 $x264 -pix_fmt yuv420p -vf setsar=2/1 wide-pixels.mp4
# variable frame rate: frames 5 to 14 held back to half speed
ff $video -vf "setpts='if(lt(N,5),N,if(lt(N,15),5+(N-5)*2,25+(N-15)))/(10*TB)'" -fps_mode vfr $x264 variable.mp4 2>/dev/null ||
  ff $video -vf "setpts='if(lt(N,5),N,if(lt(N,15),5+(N-5)*2,25+(N-15)))/(10*TB)'" -vsync vfr $x264 variable.mp4
# sound that starts half a second after the pictures
ff $video -itsoffset 0.5 -f lavfi -i sine=frequency=440:sample_rate=44100:duration=1,volume=4 $x264 -c:a libmp3lame late-audio.mkv
# 10-bit BT.2020 HLG
ff $video -c:v libx265 -x265-params log-level=error:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc -pix_fmt yuv420p10le -tag:v hvc1 hdr.mp4
# sound in a codec that is not taken
ff $video $sound $x264 -c:a adpcm_ima_wav odd.avi
python3 make-broken-audio.py
cp clip.mp4 /dev/null
ls -l | awk '{sum += $5} END {print sum " bytes"}'
