package term

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// moving is a line about something that goes on: redrawn in place on a terminal, said now and then elsewhere. It is embedded by what
// knows the text, which runs it and guards its own fields by mu.
type moving struct {
	w     io.Writer
	opts  WatchOptions
	start time.Time
	text  func(now time.Time) string // empty: there is nothing to say; called under mu

	mu     sync.Mutex
	said   time.Time // plain lines: when the last one was written
	drawn  bool      // a line to be redrawn is on the screen
	frames int

	stop chan struct{}
	done chan struct{}
}

func (m *moving) begin(w io.Writer, opts WatchOptions, text func(now time.Time) string) {
	m.w, m.opts, m.text, m.stop, m.done = w, opts.withDefaults(), text, make(chan struct{}), make(chan struct{})
	m.start = m.opts.Now()
	m.said = m.start
}

// run redraws until Close.
func (m *moving) run() {
	defer close(m.done)
	every := m.opts.Every
	if !m.opts.Live {
		every = min(m.opts.Still, time.Second)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-ticker.C:
			m.mu.Lock()
			m.tick(m.opts.Now())
			m.mu.Unlock()
		}
	}
}

// Close takes the redrawn line away; plain lines stay.
func (m *moving) Close() {
	close(m.stop)
	<-m.done
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
}

func (m *moving) clear() {
	if m.drawn {
		_, _ = io.WriteString(m.w, "\r"+clearLine)
		m.drawn = false
	}
}

func (m *moving) tick(now time.Time) {
	text := m.text(now)
	if text == "" {
		return
	}
	if !m.opts.Live {
		if now.Sub(m.said) >= m.opts.Still {
			m.said = now
			_, _ = fmt.Fprintf(m.w, "%s  %s\n", units.Time(now, m.opts.Style.Zone), text)
		}
		return
	}
	m.frames++
	cols, _ := m.opts.Size()
	line := spinner[m.frames%len(spinner)] + " " + units.Clock(now.Sub(m.start)) + "  " + text
	_, _ = io.WriteString(m.w, "\r"+ansi.Truncate(line, max(1, cols-1), "…")+clearLine)
	m.drawn = true
}
