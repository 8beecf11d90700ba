package clients

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// upload is the day of the client who puts files.
func (f *Fleet) upload(ctx context.Context) {
	next := time.Now()
	for n := 0; sleep(ctx, time.Until(next)); n++ {
		name := fmt.Sprintf("%s-upload-%d", f.cfg.Prefix, n)
		content := make([]byte, 1+mathrand.IntN(32<<10))
		rand.Read(content) // never fails
		for f.put(ctx, name, content) != nil {
			if !sleep(ctx, retryPause) {
				return
			}
		}
		f.ledger.Uploaded(name, sha256.Sum256(content))
		if next = next.Add(f.cfg.Upload); time.Since(next) > 0 {
			next = time.Now()
		}
	}
}

func (f *Fleet) put(ctx context.Context, name string, content []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, f.cfg.Uploads+name, bytes.NewReader(content))
	if err != nil {
		return err
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return failure.New(failure.Unavailable, "upload", name, "%s", resp.Status)
	}
	return nil
}

// uploaded is one acknowledged file.
type uploaded struct {
	sum [sha256.Size]byte
	at  time.Time
}

// Uploaded notes that the client was told that its file is stored.
func (l *Ledger) Uploaded(name string, sum [sha256.Size]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.uploads == nil {
		l.uploads = map[string]uploaded{}
	}
	l.uploads[name] = uploaded{sum, time.Now()}
}

// Uploads says how the ledger and a folder of uploads differ.
type Uploads struct {
	Acknowledged int
	Lost         []string  // acknowledged, and not there
	Oldest       time.Time // when the first of the lost ones was acknowledged
	Wrong        []string  // there, with another content
}

// CompareUploads looks for every acknowledged file. Those that are lost are dropped from the ledger: once told, they are
// not told again by the next comparison. Read gives the content of a file, or that there is none.
func (l *Ledger) CompareUploads(read func(name string) (content []byte, there bool, err error)) (Uploads, error) {
	l.mu.Lock()
	names := make([]string, 0, len(l.uploads))
	for name := range l.uploads {
		names = append(names, name)
	}
	l.mu.Unlock()
	slices.Sort(names)
	c := Uploads{Acknowledged: len(names)}
	for _, name := range names {
		content, there, err := read(name)
		if err != nil {
			return c, err
		}
		l.mu.Lock()
		known := l.uploads[name]
		switch {
		case !there:
			c.Lost = append(c.Lost, name)
			if c.Oldest.IsZero() || known.at.Before(c.Oldest) {
				c.Oldest = known.at
			}
			delete(l.uploads, name)
		case sha256.Sum256(content) != known.sum:
			c.Wrong = append(c.Wrong, name)
		}
		l.mu.Unlock()
	}
	return c, nil
}
