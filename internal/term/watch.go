package term

import (
	"context"
	"io"
	"iter"
	"os"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// WatchOptions say how Watch shows a run. The zero value shows plain lines; [WatchStyle] fills it from a writer.
type WatchOptions struct {
	Style Style
	Live  bool                    // redraw in place; the writer is a terminal
	Size  func() (cols, rows int) // asked before each frame; nil: Style.Width by 24
	Now   func() time.Time        // nil: time.Now
	Every time.Duration           // between frames of the live view; zero: 200 ms
	Phase time.Duration           // plain lines: at least this long between two phases of one step; zero: 5 s
	Still time.Duration           // plain lines: what goes on is said again after this long without a line; zero: 30 s
}

// WatchStyle finds out how a run is shown best on w. getenv is os.Getenv outside of tests.
func WatchStyle(w io.Writer, getenv func(string) string) WatchOptions {
	opts := WatchOptions{Style: Detect(w, getenv), Live: IsTerminal(w, getenv)}
	if opts.Live {
		f := w.(*os.File)
		opts.Size = func() (int, int) {
			cols, rows, _ := size(f)
			return cols, rows
		}
	}
	return opts
}

func (o WatchOptions) withDefaults() WatchOptions {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Size == nil {
		cols := o.Style.Width
		if cols == 0 {
			cols = 80
		}
		o.Size = func() (int, int) { return cols, 24 }
	}
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&o.Every, 200*time.Millisecond)
	set(&o.Phase, 5*time.Second)
	set(&o.Still, 30*time.Second)
	return o
}

// screen shows the views of one run as they come.
type screen interface {
	view(v *api.RunView, now time.Time) error // a new view
	tick(now time.Time) error                 // nothing new, time has passed
	close(now time.Time) error                // the end: leave the terminal as it was found; called exactly once
	every() time.Duration                     // between ticks
}

// Watch shows a run until a final view comes, seq ends or ctx does, and then what became of it. It gives the last
// view, which may be nil, with the error of seq, of ctx or of the writer; a seq that ends before the run does is
// failure.Unavailable. seq must end when ctx does; it has ended when Watch returns.
//
// The cursor is hidden while a live view is drawn, and shown again whatever happens.
func Watch(ctx context.Context, w io.Writer, seq iter.Seq2[*api.RunView, error], opts WatchOptions) (*api.RunView, error) {
	opts = opts.withDefaults()
	var scr screen = newLines(w, opts)
	if opts.Live {
		scr = newLive(w, opts)
	}
	last, err := follow(ctx, seq, scr, opts)
	if closeErr := scr.close(opts.Now()); err == nil {
		err = closeErr
	}
	return last, err
}

// update is one value of a sequence.
type update struct {
	view *api.RunView
	err  error
}

// follow pulls seq in a goroutine of its own, which has ended when follow returns, and shows each view on scr.
func follow(ctx context.Context, seq iter.Seq2[*api.RunView, error], scr screen, opts WatchOptions) (last *api.RunView, err error) {
	updates, stop := make(chan update), make(chan struct{})
	go func() {
		defer close(updates)
		for v, err := range seq {
			select {
			case updates <- update{v, err}:
			case <-stop:
				return
			}
			if err != nil || v != nil && v.Final {
				return
			}
		}
	}()
	defer func() {
		close(stop)
		for range updates { //nolint:revive // waits for the goroutine's end
		}
	}()
	ticker := time.NewTicker(scr.every())
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return last, failure.Wrap(ctx.Err(), "watch", runOf(last))
		case <-ticker.C:
			if err := scr.tick(opts.Now()); err != nil {
				return last, err
			}
		case u, more := <-updates:
			switch {
			case !more && ctx.Err() != nil:
				return last, failure.Wrap(ctx.Err(), "watch", runOf(last))
			case !more:
				return last, failure.New(failure.Unavailable, "watch", runOf(last), "the view ended before the run did").
					WithHint("the run is not touched by this; see how it stands with: %s", opts.Style.command("run", "show", runOr(last)))
			case u.err != nil:
				return last, u.err
			case u.view == nil:
				continue
			}
			last = u.view
			if err := scr.view(last, opts.Now()); err != nil || last.Final {
				return last, err
			}
		}
	}
}

func runOf(v *api.RunView) string {
	if v == nil {
		return "run"
	}
	return "run " + string(v.ID)
}

func runOr(v *api.RunView) string {
	if v == nil {
		return "last"
	}
	return string(v.ID)
}
