// Compresses standard input with Go's gzip, klauspost's gzip or pgzip.
// Usage: make ENCODER LEVEL [SEGMENT_BYTES]
package main

import (
	"compress/gzip"
	"io"
	"os"
	"strconv"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/pgzip"
)

func main() {
	level, err := strconv.Atoi(os.Args[2])
	check(err)
	var w io.WriteCloser
	switch os.Args[1] {
	case "golang":
		w, err = gzip.NewWriterLevel(os.Stdout, level)
	case "klauspost":
		w, err = kgzip.NewWriterLevel(os.Stdout, level)
	case "pgzip":
		var p *pgzip.Writer
		p, err = pgzip.NewWriterLevel(os.Stdout, level)
		check(err)
		segment, _ := strconv.Atoi(os.Args[3])
		err = p.SetConcurrency(segment, 2)
		w = p
	}
	check(err)
	_, err = io.Copy(w, os.Stdin)
	check(err)
	check(w.Close())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
