package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// The data set, at scale 1: 2.1 GB. Everything is drawn from generators with fixed seeds.
const (
	bigFiles    = 5         // of text, and as many of noise
	bigFile     = 128 << 20 // bytes
	pageFile    = 512 << 20
	pageSize    = 8 << 10
	smallFiles  = 50_000
	smallFolder = 100 // files in a folder
)

// dataset is what is backed up.
type dataset struct {
	root  string
	bytes int64
	files int
}

// generate writes the data set below root. Scale divides every size and count.
func generate(ctx context.Context, root string, scale int) (dataset, error) {
	d := dataset{root: root}
	for i := range bigFiles {
		if err := ctx.Err(); err != nil {
			return d, err
		}
		if err := d.file(fmt.Sprintf("text/%d.log", i), newProse(uint64(i)), int64(bigFile/scale)); err != nil {
			return d, err
		}
		if err := d.file(fmt.Sprintf("noise/%d.bin", i), newNoise(uint64(i)), int64(bigFile/scale)); err != nil {
			return d, err
		}
	}
	if err := d.file("pages/base.dat", &pages{random: newRandom(7)}, int64(pageFile/scale)); err != nil {
		return d, err
	}
	sizes := newRandom(9)
	for i := range smallFiles / scale {
		// Most small files are very small: a product of three even draws, 5.4 KB in the mean.
		size := 64 + int64(43<<10*sizes.Float64()*sizes.Float64()*sizes.Float64())
		var content io.Reader = newProse(uint64(1000 + i))
		if i%4 == 0 {
			content = newNoise(uint64(1000 + i))
		}
		name := fmt.Sprintf("small/%03d/file-%05d.txt", i/smallFolder, i)
		if err := d.file(name, content, size); err != nil {
			return d, err
		}
	}
	return d, d.age()
}

// age gives every file the same time, long ago: that a run follows the writing closely is not part of the measurement.
func (d *dataset) age() error {
	return filepath.WalkDir(d.root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		t := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		return os.Chtimes(path, t, t)
	})
}

func (d *dataset) file(name string, content io.Reader, size int64) error {
	path := filepath.Join(d.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, content, size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	d.bytes += size
	d.files++
	return err
}

// change rewrites 2 % of the pages of the page file, here and there, as an hour of a database's work would.
func (d *dataset) change(scale int, round uint64) (changed int64, err error) {
	f, err := os.OpenFile(filepath.Join(d.root, "pages/base.dat"), os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	where, what := newRandom(11+2*round), &pages{random: newRandom(12 + 2*round), number: 1 << 30 * (round + 1)}
	page := make([]byte, pageSize)
	for range pageFile / scale / pageSize / 50 {
		if _, err := io.ReadFull(what, page); err != nil {
			return changed, err
		}
		if _, err := f.WriteAt(page, where.Int64N(int64(pageFile/scale/pageSize))*pageSize); err != nil {
			return changed, err
		}
		changed += pageSize
	}
	return changed, f.Sync()
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x5eed)) }

// newNoise gives bytes that do not compress.
func newNoise(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// prose gives lines as a server logs them: words by Zipf's law, numbers, times.
type prose struct {
	random *rand.Rand
	words  *rand.Zipf
	line   []byte
	number int
}

func newProse(seed uint64) io.Reader {
	random := newRandom(seed)
	return bufio.NewReader(&prose{random: random, words: rand.NewZipf(random, 1.2, 3, 1<<14)})
}

func (p *prose) Read(b []byte) (int, error) {
	for len(p.line) < len(b) {
		p.number++
		p.line = fmt.Appendf(p.line, "2026-01-02T%02d:%02d:%02d.%06dZ request=%08x", p.number/3600%24, p.number/60%60, p.number%60, p.random.IntN(1e6), p.random.Uint32())
		for range 4 + p.random.IntN(16) {
			p.line = append(p.line, ' ')
			p.line = appendWord(p.line, p.words.Uint64())
		}
		p.line = append(p.line, '\n')
	}
	n := copy(b, p.line)
	p.line = append(p.line[:0], p.line[n:]...)
	return n, nil
}

// appendWord spells a number in syllables.
func appendWord(to []byte, n uint64) []byte {
	const consonants, vowels = "bcdfghjklmnprstvw", "aeiou"
	for n += 20; n > 0; n /= 85 {
		s := n % 85
		to = append(to, consonants[s/5], vowels[s%5])
	}
	return to
}

// pages gives pages of a table: a header, pointers from the front, rows from the back, nothing in between.
type pages struct {
	random *rand.Rand
	number uint64
	page   [pageSize]byte
	left   []byte
}

func (p *pages) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		p.fill()
		p.left = p.page[:]
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

func (p *pages) fill() {
	clear(p.page[:])
	p.number++
	binary.LittleEndian.PutUint64(p.page[0:], p.random.Uint64N(1<<40)) // of the last change
	at, end := 24, pageSize
	for rows := 20 + p.random.IntN(40); rows > 0 && end-at > 140; rows-- {
		row := p.page[end-96 : end]
		binary.LittleEndian.PutUint64(row, p.number*64+uint64(rows))
		binary.LittleEndian.PutUint32(row[8:], p.random.Uint32N(100_000))
		binary.LittleEndian.PutUint64(row[16:], p.random.Uint64N(1<<32))
		text := appendWord(appendWord(row[:24], p.random.Uint64N(1<<12)), p.random.Uint64N(1<<12))
		for i := len(text); i < 84; i++ {
			row[i] = ' ' // a column of fixed width
		}
		end -= 96
		binary.LittleEndian.PutUint16(p.page[at:], uint16(end))
		at += 4
	}
}
