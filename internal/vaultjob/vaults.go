package vaultjob

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/model"
)

// keepOpen is for how long a vault stays open after it was looked into. A password costs half a second of work by design,
// and one plan asks a dozen questions.
const keepOpen = 30 * time.Second

// openTimeout bounds the opening of a vault that does not answer.
const openTimeout = time.Minute

// Vaults shares opened vaults between the calls of a driver. It is a saving and nothing else: no answer depends on it. The
// zero Vaults is ready.
type Vaults struct {
	mu   sync.Mutex
	open map[string]*shared
}

// shared is one opened vault.
type shared struct {
	ready chan struct{} // closed when the fields below are set
	vault *vault.Vault
	close func() error
	err   error

	users int // held by vaults.mu
	end   *time.Timer
}

// With calls f with the vault open for reading: this one, or a replica that stands for it.
func (c *Vaults) With(ctx context.Context, m model.Vault, o location.Options, f func(*vault.Vault) error) error {
	text, err := json.Marshal(m)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "open", m.Name)
	}
	key := string(text)
	s, first := c.take(key)
	if first {
		// Whoever waits goes by a context of its own; the opening is not ended by the first of them that leaves.
		c.take(key)
		go func() {
			defer c.give(key, s)
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openTimeout)
			defer cancel()
			v, closer, err := location.OpenAny(ctx, m, o)
			s.vault, s.err = v, err
			if err == nil {
				s.close = closer.Close
			}
			close(s.ready)
		}()
	}
	select {
	case <-s.ready:
		err = s.err
	case <-ctx.Done():
		err = failure.Wrap(ctx.Err(), "open", m.Name)
	}
	if err == nil {
		err = f(s.vault)
	}
	c.give(key, s)
	return err
}

func (c *Vaults) take(key string) (s *shared, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[string]*shared{}
	}
	s = c.open[key]
	if first = s == nil; first {
		s = &shared{ready: make(chan struct{})}
		c.open[key] = s
	}
	s.users++
	if s.end != nil {
		s.end.Stop()
	}
	return s, first
}

// give ends a use. What was not opened is tried again by the next one; what nobody uses is closed after a while.
func (c *Vaults) give(key string, s *shared) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.users--
	select {
	case <-s.ready:
		if s.err != nil && c.open[key] == s {
			delete(c.open, key)
		}
	default:
	}
	if s.users > 0 || s.err != nil { // while it is being opened there is a user
		return
	}
	s.end = time.AfterFunc(keepOpen, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if s.users == 0 && c.open[key] == s {
			delete(c.open, key)
			_ = s.close() // nothing was written through it
		}
	})
}
