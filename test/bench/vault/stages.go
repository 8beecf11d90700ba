package main

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/restic/chunker"

	"github.com/lifeboat-dr/lifeboat/internal/vault/chunk"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// printStages measures each stage on one core, by what the data is, in MB/s of plaintext.
func printStages(w io.Writer) error {
	const size = 8 << 20
	key, err := crypto.NewKey(rand.Reader)
	if err != nil {
		return err
	}
	polynomial, err := chunker.RandomPolynomial()
	if err != nil {
		return err
	}
	table := chunk.NewTable(polynomial)
	compressor := func(level zstd.EncoderLevel) (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(false), zstd.WithWindowSize(512<<10),
			zstd.WithEncoderConcurrency(1), zstd.WithAllLitEntropyCompression(true))
	}
	encoder, err := compressor(zstd.SpeedFastest) // the vault's for data
	if err != nil {
		return err
	}
	usual, err := compressor(zstd.SpeedDefault) // restic's, and the vault's for trees
	if err != nil {
		return err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "| MB/s of one core | cut | hash | compress | at restic's level | encrypt | decrypt | decompress |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	for _, set := range []struct {
		name string
		r    io.Reader
	}{{"text", newProse(1)}, {"pages", &pages{random: newRandom(1)}}, {"noise", newNoise(1)}} {
		data := make([]byte, size)
		if _, err := io.ReadFull(set.r, data); err != nil {
			return err
		}
		blobs := [][]byte{data[:1<<20], data[1<<20 : 3<<20], data[3<<20 : 4<<20], data[4<<20:]}
		var packed, plain, sealed []byte
		cut := rate(size, func() {
			for rest := data; len(rest) > 0; {
				n := table.Find(rest, 0)
				if n == 0 {
					return
				}
				rest = rest[n:]
			}
		})
		hash := rate(size, func() {
			for _, b := range blobs {
				object.Hash(b)
			}
		})
		compress := rate(size, func() {
			for _, b := range blobs {
				packed = encoder.EncodeAll(b, packed[:0])
			}
		})
		harder := rate(size, func() {
			for _, b := range blobs {
				packed = usual.EncodeAll(b, packed[:0])
			}
		})
		encrypt := rate(size, func() { sealed = key.Seal(sealed[:0], data) })
		decrypt := rate(size, func() { // with the copy that is decrypted in place
			plain = append(plain[:0], sealed...)
			_, err = key.Open(plain)
		})
		if err != nil {
			return err
		}
		frame := encoder.EncodeAll(data, nil)
		decompress := rate(size, func() { plain, err = decoder.DecodeAll(frame, plain[:0]) })
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| %s | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n", set.name, cut/1e6, hash/1e6, compress/1e6, harder/1e6, encrypt/1e6, decrypt/1e6, decompress/1e6)
	}
	return nil
}
