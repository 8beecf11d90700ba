package vault

import (
	"github.com/klauspost/compress/zstd"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Compression says how hard data is compressed. Trees, indexes and snapshots always are, at zstd's usual level. The
// names are restic's, but not what each costs: see docs/benchmarks.md.
type Compression string

// The compressions. Data that does not shrink is stored as it is, whatever was asked for.
const (
	// CompressAuto is the zero value too: fast, and within a few percent of the usual level; that one where hardly anything
	// is new.
	CompressAuto    Compression = "auto"
	CompressOff     Compression = "off"
	CompressFastest Compression = "fastest"
	CompressBetter  Compression = "better"
	CompressMax     Compression = "max"
)

// ParseCompression reads the name of one; "" is auto. Anything else is Invalid.
func ParseCompression(name string) (Compression, error) {
	switch c := Compression(name); c {
	case "":
		return CompressAuto, nil
	case CompressAuto, CompressOff, CompressFastest, CompressBetter, CompressMax:
		return c, nil
	}
	return "", failure.New(failure.Invalid, "read a compression", name, "there is no such compression").
		WithHint("one of auto, off, fastest, better, max")
}

// window is restic's: no blob of usual size gains from a longer one, and each encoder takes twice of it.
const window = 512 << 10

// newEncoder gives an encoder for EncodeAll. The blob's hash makes zstd's sum needless.
func newEncoder(level zstd.EncoderLevel, workers int) (*zstd.Encoder, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(false), zstd.WithWindowSize(window),
		zstd.WithEncoderConcurrency(workers), zstd.WithAllLitEntropyCompression(true))
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "open the vault", "")
	}
	return e, nil
}

// encoders are what compresses. Those that are not used take no memory.
type encoders struct {
	data, metadata *zstd.Encoder
	auto           bool // data may be compressed as metadata is
}

func newEncoders(c Compression, workers int) (encoders, error) {
	level := zstd.SpeedFastest
	switch c {
	case CompressBetter:
		level = zstd.SpeedBetterCompression
	case CompressMax:
		level = zstd.SpeedBestCompression
	}
	e := encoders{auto: c == "" || c == CompressAuto}
	var err error
	if e.data, err = newEncoder(level, workers); err != nil {
		return e, err
	}
	e.metadata, err = newEncoder(zstd.SpeedDefault, workers)
	return e, err
}

// compress appends the zstd frame of a blob to dst. With time to spare auto is zstd's usual level.
func (e encoders) compress(t object.Type, time bool, dst, data []byte) []byte {
	if t == object.Tree || time && e.auto {
		return e.metadata.EncodeAll(data, dst)
	}
	return e.data.EncodeAll(data, dst)
}

// room is how long the frame of n bytes can be.
func (e encoders) room(n int) int {
	return max(e.data.MaxEncodedSize(n), e.metadata.MaxEncodedSize(n))
}
