package blob

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// SaveSame is Save that is content when exactly these bytes are there already, whoever saved them. It fails with Exists
// when other bytes are there; they are compared, not trusted by their name.
func SaveSame(ctx context.Context, s Store, h Handle, content Content) error {
	err := s.Save(ctx, h, content)
	if err == nil || failure.KindOf(err) != failure.Exists {
		return err
	}
	same, cerr := Same(ctx, s, h, content)
	if cerr != nil {
		return failure.Wrap(cerr, "compare", h.String())
	}
	if same {
		return nil
	}
	return failure.New(failure.Exists, "save", h.String(), "other content is stored under this name").
		WithHint("the stored object is damaged or belongs to another repository: run a check before writing more")
}

// Same reports whether h holds exactly content. An absent h is NotFound.
func Same(ctx context.Context, s Store, h Handle, content Content) (bool, error) {
	info, err := s.Stat(ctx, h)
	if err != nil || info.Size != content.Size() {
		return false, err
	}
	if info.Size == 0 {
		return true, nil
	}
	stored, err := s.Load(ctx, h, 0, ToEnd)
	if err != nil {
		return false, err
	}
	defer stored.Close()
	const piece = 64 << 10
	a, b := bufio.NewReaderSize(Reader(content), piece), bufio.NewReaderSize(stored, piece)
	for {
		want, errWant := a.Peek(piece)
		if errWant != nil && !errors.Is(errWant, io.EOF) {
			return false, errWant
		}
		got, errGot := b.Peek(piece)
		if errGot != nil && !errors.Is(errGot, io.EOF) {
			return false, errGot
		}
		if !bytes.Equal(want, got) {
			return false, nil
		}
		if len(want) < piece {
			return true, nil
		}
		a.Discard(piece)
		b.Discard(piece)
	}
}

// Reader reads content from its start to its end, once.
func Reader(content Content) *io.SectionReader {
	return io.NewSectionReader(content, 0, content.Size())
}

// ReadAll loads the whole of h.
func ReadAll(ctx context.Context, s Store, h Handle) ([]byte, error) {
	info, err := s.Stat(ctx, h)
	if err != nil || info.Size == 0 {
		return nil, err
	}
	all := make([]byte, info.Size)
	return all, ReadFull(ctx, s, h, all, 0)
}

// ReadFull fills p from offset on. A shorter object is Corrupt. An empty p asks nothing.
func ReadFull(ctx context.Context, s Store, h Handle, p []byte, offset int64) error {
	if len(p) == 0 {
		return nil
	}
	r, err := s.Load(ctx, h, offset, int64(len(p)))
	if err != nil {
		return err
	}
	_, err = io.ReadFull(r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = Short("load", h)
	}
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return err
}

// Short is the error of an object that ends before what was asked for.
func Short(op string, h Handle) error {
	return failure.New(failure.Corrupt, op, h.String(), "the object is shorter than what was asked for").
		WithHint("run a check: the object was truncated, or an index speaks of another one")
}

// CheckRange is nil when offset and length can be asked of Load, and failure.Invalid otherwise. Stores call it first.
func CheckRange(h Handle, offset, length int64) error {
	if err := h.Check("load"); err != nil {
		return err
	}
	if offset < 0 || (length <= 0 && length != ToEnd) {
		return failure.New(failure.Invalid, "load", h.String(), "no such range: offset %d, length %d", offset, length)
	}
	return nil
}
