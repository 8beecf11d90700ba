package pgbackrest

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"hash"
	"io"
	"path"
	"strconv"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// OpenFile gives the content of a backup's file, as it was in the cluster. The reader ends with Corrupt instead of io.EOF
// when the content is not what the manifest says; with the errors of the store when it cannot be read.
func (r *Repo) OpenFile(ctx context.Context, m *Manifest, f *File) (io.ReadCloser, error) {
	if f.Size == 0 { // bundled backups do not even store them
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	label := f.Reference
	if label == "" {
		label = m.Label
	}
	if f.mapSize > 0 {
		return r.openBlocks(ctx, m, f, label)
	}
	p := r.filePath(label, f, m.Compression.ext())
	o := source{path: p, pass: m.pass, compression: m.Compression, length: -1}
	if f.bundle > 0 {
		o.offset, o.length, o.raw = f.offset, f.stored, m.raw
	}
	src, err := r.open(ctx, o)
	if err != nil {
		return nil, r.inFile(err, f, p)
	}
	return &verified{Reader: src, close: src.Close, sum: sha1.New(), want: f.SHA1, size: f.Size,
		fail: func(err error) error { return r.inFile(err, f, p) }}, nil
}

// filePath is where the content of f lies that backup label holds.
func (r *Repo) filePath(label string, f *File, ext string) string {
	if f.bundle > 0 {
		return path.Join("backup", r.Stanza, label, "bundle", strconv.FormatInt(f.bundle, 10))
	}
	return path.Join("backup", r.Stanza, label, f.Name) + ext
}

// inFile names a file both as the cluster knows it and where it lies.
func (r *Repo) inFile(err error, f *File, p string) error {
	return failure.Wrap(err, "read "+f.Name+" from", r.subject(p))
}

// source is a piece of the repository and what must be undone to read it.
type source struct {
	path           string
	offset, length int64 // length -1: the whole file
	pass           string
	compression    Compression
	raw            bool
}

// open undoes encryption and compression. Errors of the reader without a kind are those of undoing: the content is
// damaged.
func (r *Repo) open(ctx context.Context, o source) (io.ReadCloser, error) {
	stored, err := r.store.Open(ctx, o.path, o.offset, o.length)
	if err != nil {
		return nil, err
	}
	var plain io.Reader = stored
	if o.pass != "" {
		plain = decrypt(stored, o.pass, o.raw)
	}
	content, err := decompress(plain, o.compression, o.raw)
	if err != nil {
		stored.Close()
		return nil, damaged(err)
	}
	return &both{content, stored}, nil
}

// both is a reader over another one; both are closed.
type both struct {
	io.ReadCloser
	below io.Closer
}

// Close closes both.
func (b *both) Close() error { return errors.Join(b.ReadCloser.Close(), b.below.Close()) }

// damaged gives an error of undoing its kind; those of the store have one.
func damaged(err error) error {
	if failure.Classified(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return failure.WrapAs(failure.Corrupt, err, "", "")
}

// verified is content that ends well only when it is what it should be.
type verified struct {
	io.Reader
	close func() error
	sum   hash.Hash
	got   int64
	want  [20]byte
	size  int64 // bytes; -1: any
	fail  func(error) error
	err   error
}

// Read reads on.
func (v *verified) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.Reader.Read(p)
	v.sum.Write(p[:n])
	v.got += int64(n)
	switch {
	case v.size >= 0 && v.got > v.size:
		v.err = v.fail(failure.New(failure.Corrupt, "compare", "the length", "it should have %d bytes and has more", v.size))
		return 0, v.err
	case err == io.EOF:
		v.err = io.EOF
		if wrong := v.judge(); wrong != nil {
			v.err = v.fail(wrong)
		}
	case err != nil:
		v.err = v.fail(damaged(err))
	}
	return n, v.err
}

func (v *verified) judge() error {
	if v.size >= 0 && v.got != v.size {
		return failure.New(failure.Corrupt, "compare", "the length", "it should have %d bytes and has %d", v.size, v.got)
	}
	if got := [20]byte(v.sum.Sum(nil)); got != v.want {
		return failure.New(failure.Corrupt, "compare", "the checksum", "it should be %x and is %x", v.want, got)
	}
	return nil
}

// Close ends reading.
func (v *verified) Close() error { return v.close() }
