"""Compresses standard input with the zlib this Python was built with.

Usage: make_zlib.py LEVEL MEM_LEVEL STRATEGY
"""

import sys
import zlib

level, mem_level, strategy = map(int, sys.argv[1:4])
encoder = zlib.compressobj(level, zlib.DEFLATED, 31, mem_level, strategy)
plain = sys.stdin.buffer.read()
sys.stdout.buffer.write(encoder.compress(plain) + encoder.flush())
