/* Compresses standard input with zlib-ng, built with zlib's names (--zlib-compat).
 * Usage: make_zlib_ng LEVEL INPUT OUTPUT FLUSHED
 * INPUT and OUTPUT are the bytes of a call, 0 for all. FLUSHED is 1 for a flush before the end.
 * The stream has ten bytes before it and eight behind it, as make.sh expects.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static unsigned char plain[16 << 20], *out;
static z_stream stream;
static unsigned room;

static int call(int flush) {
    stream.next_out = out;
    stream.avail_out = room;
    int result = deflate(&stream, flush);
    fwrite(out, 1, room - stream.avail_out, stdout);
    return result;
}

int main(int count, char **values) {
    if (count != 5) return 2;
    size_t input = atol(values[2]), bytes = fread(plain, 1, sizeof plain, stdin);
    room = atol(values[3]) ? atol(values[3]) : 32 << 20;
    out = malloc(room);
    fwrite("\x1f\x8b\x08\0\0\0\0\0\0\x03", 1, 10, stdout);
    deflateInit2(&stream, atoi(values[1]), 8, -15, 8, 0);
    if (input == 0) {
        stream.next_in = plain;
        stream.avail_in = bytes;
    }
    for (size_t at = 0; input != 0 && at < bytes; at += input) {
        stream.next_in = plain + at;
        stream.avail_in = bytes - at < input ? bytes - at : input;
        while (stream.avail_in != 0) call(Z_NO_FLUSH);
    }
    if (atoi(values[4])) {
        do call(Z_SYNC_FLUSH); while (stream.avail_out == 0);
    }
    while (call(Z_FINISH) != Z_STREAM_END) {}
    fwrite("\0\0\0\0\0\0\0", 1, 8, stdout);
    return 0;
}
