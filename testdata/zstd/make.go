// Compresses standard input with klauspost's zstd.
// Usage: make LEVEL CUT
// CUT bytes are written first, the rest is read from, as io.Copy does it.
package main

import (
	"bytes"
	"io"
	"os"
	"strconv"

	"github.com/klauspost/compress/zstd"
)

func main() {
	level, err := strconv.Atoi(os.Args[1])
	check(err)
	cut, err := strconv.Atoi(os.Args[2])
	check(err)
	in, err := io.ReadAll(os.Stdin)
	check(err)
	cut = min(cut, len(in))
	w, err := zstd.NewWriter(os.Stdout, zstd.WithEncoderLevel(zstd.EncoderLevel(level)))
	check(err)
	_, err = w.Write(in[:cut])
	check(err)
	_, err = w.ReadFrom(bytes.NewReader(in[cut:]))
	check(err)
	check(w.Close())
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
