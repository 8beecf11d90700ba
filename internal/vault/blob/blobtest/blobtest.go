// Package blobtest is the suite that every blob store, and everything laid around one, passes.
//
// A check is a function that returns what is wrong, so that the suite itself is tested: a set of deliberately broken
// stores must each be caught. It measures no time and waits for nothing but events. Start with Run in the test of a
// store.
package blobtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Place is somewhere that stores can be opened on, each call one more. It is not created yet. The suite closes them.
type Place func() (blob.Store, error)

// Check is one question to a store: it returns what is wrong.
type Check struct {
	Name string
	Run  func(ctx context.Context, place Place) error
}

// Run asks every check of a place of its own, which fresh makes.
func Run(t *testing.T, fresh func(tb testing.TB) Place) {
	t.Helper()
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t.Context(), fresh(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Checks are all there are.
func Checks() []Check {
	return []Check{
		{"facts", created(facts)},
		{"before create", beforeCreate},
		{"create again", createAgain},
		{"round trip", created(roundTrip)},
		{"ranges", created(ranges)},
		{"short objects", created(short)},
		{"write once", created(writeOnce)},
		{"absent", created(absent)},
		{"invalid", created(invalid)},
		{"list", created(list)},
		{"list ends", created(listEnds)},
		{"remove", created(remove)},
		{"wrong name", created(wrongName)},
		{"content that breaks", created(brokenContent)},
		{"canceled", created(canceled)},
		{"canceled while reading", created(canceledReading)},
		{"reader closed early", created(closedEarly)},
		{"no half is seen", created(noHalf)},
		{"one of many creates", created(oneOfMany)},
		{"many at once", created(manyAtOnce)},
	}
}

// two is what most checks work on: two openings of one created place.
type two struct{ a, b blob.Store }

// created opens a place twice, creates it, and closes it.
func created(check func(ctx context.Context, s two) error) func(context.Context, Place) error {
	return func(ctx context.Context, place Place) (err error) {
		a, err := place()
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		defer func() { err = errors.Join(err, a.Close()) }()
		if err := a.Create(ctx); err != nil {
			return fmt.Errorf("create: %w", err)
		}
		b, err := place()
		if err != nil {
			return fmt.Errorf("open again: %w", err)
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		return check(ctx, two{a, b})
	}
}

// Object is content that has its name.
type Object struct {
	Handle blob.Handle
	Bytes  []byte
}

// Make is an object of size bytes, the same for the same seed.
func Make(t blob.Type, seed uint64, size int) Object {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(t)
	text := make([]byte, size)
	if _, err := io.ReadFull(rand.NewChaCha8(key), text); err != nil {
		panic(err) // ChaCha8 never fails
	}
	return Name(t, text)
}

// Name is text with the name that it has.
func Name(t blob.Type, text []byte) Object {
	sum := sha256.Sum256(text)
	h := blob.Handle{Type: t, Name: hex.EncodeToString(sum[:])}
	if t == blob.Config {
		h.Name = ""
	}
	return Object{h, text}
}

// Kind is nil when err is of kind want, and says otherwise what it is.
func Kind(what string, err error, want failure.Kind) error {
	if err == nil {
		return fmt.Errorf("%s succeeds, want %s", what, want)
	}
	if got := failure.KindOf(err); got != want {
		return fmt.Errorf("%s: kind %s, want %s: %w", what, got, want, err)
	}
	return nil
}

// errorf is fmt.Errorf when wrong, else nil.
func errorf(wrong bool, format string, args ...any) error {
	if wrong {
		return fmt.Errorf(format, args...)
	}
	return nil
}
