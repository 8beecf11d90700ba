package pgbackrest

import (
	"compress/bzip2"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Compression is how files of a repository are compressed: pgBackRest's compress-type.
type Compression string

// The compressions that are read.
const (
	None Compression = "none"
	Gz   Compression = "gz"
	Lz4  Compression = "lz4"
	Zst  Compression = "zst"
	Bz2  Compression = "bz2"
)

// compressions are those that are read.
var compressions = []Compression{None, Gz, Lz4, Zst, Bz2}

// valid is Unsupported when c is not read.
func (c Compression) valid() error {
	for _, known := range compressions {
		if c == known {
			return nil
		}
	}
	return failure.New(failure.Unsupported, "decompress", string(c), "this build knows none, gz, lz4, zst and bz2")
}

// ext is what names of files end in that are compressed so.
func (c Compression) ext() string {
	if c == None {
		return ""
	}
	return "." + string(c)
}

// decompress gives what src was before it was compressed. In bundles newer versions leave headers out ("raw"): gz is
// zlib's format then, and the others tell by themselves.
func decompress(src io.Reader, c Compression, raw bool) (io.ReadCloser, error) {
	switch c {
	case None:
		return io.NopCloser(src), nil
	case Gz:
		if raw {
			return zlib.NewReader(src)
		}
		return gzip.NewReader(src)
	case Lz4:
		return io.NopCloser(lz4.NewReader(src)), nil
	case Zst:
		d, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case Bz2:
		return io.NopCloser(bzip2.NewReader(src)), nil
	}
	return nil, c.valid()
}
