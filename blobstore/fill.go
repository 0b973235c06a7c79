package blobstore

import (
	"context"
	"io"
)

// Fill reads until p is full, r has an error, which is io.EOF only at its regular end, or ctx has ended. It is for
// stores, which take the bytes of uploads in pieces.
func Fill(ctx context.Context, r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}
