package pgrestore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore/ask"
)

// ahead is how many segments are fetched before they are asked for.
const ahead = 8

// aheadFolder is where they wait, in the data folder's pg_wal: from there a rename brings them to where the server wants
// them. It is tried by the restore_command itself, since to start a program of this size for each segment takes longer than
// to replay some.
const aheadFolder = "lifeboat-ahead"

// feeder gives a recovering server the log of a route. Its requests come from [ask.Main].
type feeder struct {
	wal    *wal
	route  *route
	index  map[string]int // of the route's steps, by name
	data   string
	owner  owner
	socket string

	cancel context.CancelFunc // ends everything that is under way
	group  sync.WaitGroup
	listen net.Listener
	limit  chan struct{} // how many are fetched at once

	mu    sync.Mutex
	slots map[int]*slot
	told  fed
}

// slot is a segment that is fetched, or was and waits.
type slot struct {
	done chan struct{}
	err  error
}

// fed is what a feeder has done.
type fed struct {
	segments int
	asked    int   // requests for anything
	furthest int   // how many steps of the route were asked for, at least
	failed   error // why the server was told to give up; the first reason
}

// feed begins to listen at socket, and to fetch. The caller closes it.
func feed(ctx context.Context, l *wal, r *route, data, socket string, o owner) (*feeder, error) {
	f := &feeder{wal: l, route: r, index: map[string]int{}, data: data, owner: o, socket: socket, slots: map[int]*slot{},
		limit: make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))}
	for i, s := range r.steps {
		f.index[s.name] = i
	}
	if err := f.makeFolder(); err != nil {
		return nil, err
	}
	var config net.ListenConfig
	listen, err := config.Listen(ctx, "unix", socket)
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "listen at", socket)
	}
	if err := errors.Join(os.Chmod(socket, 0o600), o.give(socket)); err != nil {
		return nil, errors.Join(failure.WrapAs(failure.Denied, err, "listen at", socket), listen.Close())
	}
	f.listen = listen
	ctx, f.cancel = context.WithCancel(ctx)
	f.group.Go(func() { f.serve(ctx) })
	f.group.Go(func() { f.watch(ctx) })
	f.fetchFrom(ctx, 0)
	return f, nil
}

func (f *feeder) makeFolder() error {
	dir := f.folder()
	if err := os.RemoveAll(dir); err != nil {
		return failure.WrapAs(failure.Denied, err, "remove", dir)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return failure.WrapAs(failure.Denied, err, "make", dir)
	}
	return f.owner.give(dir)
}

func (f *feeder) folder() string { return filepath.Join(f.data, "pg_wal", aheadFolder) }

// close ends all that is under way and waits for it. From then on the server is told that nothing is there, with over; else
// that nobody answers.
func (f *feeder) close(over bool) error {
	var said error
	if over { // before anybody who asks is turned away
		if l, ok := f.listen.(*net.UnixListener); ok {
			l.SetUnlinkOnClose(false)
		}
		place := f.socket + ".over"
		said = errors.Join(os.WriteFile(place, []byte(ask.Over), 0o600), f.owner.give(place), os.Rename(place, f.socket))
	}
	f.cancel()
	err := f.listen.Close()
	f.group.Wait()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, said, os.RemoveAll(f.folder()))
}

// tells gives what was done so far.
func (f *feeder) tells() fed {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told
}

func (f *feeder) serve(ctx context.Context) {
	for {
		conn, err := f.listen.Accept()
		if err != nil {
			return // it is closed: a socket of this host gives no other reason that trying again would help against
		}
		f.group.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			f.converse(ctx, conn)
		})
	}
}

// converse answers one request.
func (f *feeder) converse(ctx context.Context, conn net.Conn) {
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return
	}
	name, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	f.notice(ctx)
	f.mu.Lock()
	f.told.asked++
	f.mu.Unlock()
	there, err := f.give(ctx, name, path)
	answer := ask.AnswerThere
	switch {
	case err != nil:
		f.mu.Lock()
		if f.told.failed == nil && ctx.Err() == nil {
			f.told.failed = err
		}
		f.mu.Unlock()
		answer = ask.AnswerFatal + strings.ReplaceAll(err.Error(), "\n", "; ")
	case !there:
		answer = ask.AnswerNotThere
	}
	fmt.Fprintln(conn, answer) // who asked and went away is told nothing
}

// give puts a file of the log where the server wants it, and reports whether there is such a file.
func (f *feeder) give(ctx context.Context, name, path string) (bool, error) {
	base, ok := strings.CutPrefix(path, "pg_wal/")
	if !ok || base == "" || strings.ContainsAny(base, "/ ") {
		return false, failure.New(failure.Invalid, "give the log", name, "%q is no place for it", path)
	}
	into := filepath.Join(f.data, path)
	if t, ok := historyOf(name); ok {
		text, ok := f.wal.histories[t]
		if !ok {
			return false, nil
		}
		return true, f.write(into, text)
	}
	i, ok := f.index[name]
	if !ok {
		return false, nil
	}
	if err := f.take(ctx, i, into); err != nil {
		return false, err
	}
	f.mu.Lock()
	f.given(i)
	f.mu.Unlock()
	f.fetchFrom(ctx, i+1)
	return true, nil
}

// given notes that the server has a step of the route. The caller holds mu.
func (f *feeder) given(i int) {
	f.told.segments++
	f.told.furthest = max(f.told.furthest, i+1)
}

// watch notices what the server takes by itself.
func (f *feeder) watch(ctx context.Context) {
	tick := time.NewTicker(noticeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.notice(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// noticeEvery is shorter than a server takes to replay what is fetched ahead.
const noticeEvery = 10 * time.Millisecond

// notice finds out what the server took by itself, and fetches what comes next.
func (f *feeder) notice(ctx context.Context) {
	next := -1
	f.mu.Lock()
	for n, s := range f.slots {
		select {
		case <-s.done:
		default:
			continue
		}
		if s.err != nil {
			continue
		}
		if _, err := os.Lstat(f.waiting(n)); errors.Is(err, fs.ErrNotExist) {
			delete(f.slots, n)
			f.given(n)
			next = max(next, n+1)
		}
	}
	f.mu.Unlock()
	if next >= 0 {
		f.fetchFrom(ctx, next)
	}
}

// take moves a segment to where it is wanted; it is fetched if it was not, or was taken before.
func (f *feeder) take(ctx context.Context, i int, into string) error {
	f.fetchFrom(ctx, i)
	f.mu.Lock()
	s := f.slots[i]
	delete(f.slots, i)
	f.mu.Unlock()
	select {
	case <-s.done:
	case <-ctx.Done():
		return failure.Wrap(ctx.Err(), "give the log", f.route.steps[i].name)
	}
	if s.err != nil {
		return s.err
	}
	if err := os.Rename(f.waiting(i), into); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "give the log", into)
	}
	return nil
}

func (f *feeder) waiting(i int) string { return filepath.Join(f.folder(), f.route.steps[i].name) }

// fetchFrom sees to it that step i and some behind it are fetched, and drops what waits before it.
func (f *feeder) fetchFrom(ctx context.Context, i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, s := range f.slots {
		if n >= i {
			continue
		}
		select {
		case <-s.done:
			delete(f.slots, n)
			_ = os.Remove(f.waiting(n)) // its folder goes in the end
		default: // it is under way, and dropped the next time
		}
	}
	for n := i; n < min(i+ahead, len(f.route.steps)); n++ {
		if f.slots[n] != nil {
			continue
		}
		s := &slot{done: make(chan struct{})}
		f.slots[n] = s
		f.group.Go(func() {
			defer close(s.done)
			s.err = f.fetch(ctx, n)
		})
	}
}

// fetch reads a segment into the folder where it waits.
func (f *feeder) fetch(ctx context.Context, i int) error {
	select {
	case f.limit <- struct{}{}:
		defer func() { <-f.limit }()
	case <-ctx.Done():
		return failure.Wrap(ctx.Err(), "read the log segment", f.route.steps[i].name)
	}
	data, _, err := f.wal.read(ctx, f.route.steps[i])
	if err != nil {
		return err
	}
	part := f.waiting(i) + ".new"
	if err := f.write(part, data); err != nil {
		return err
	}
	if err := os.Rename(part, f.waiting(i)); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "give the log", part)
	}
	return nil
}

func (f *feeder) write(path string, data []byte) error {
	file, err := makeFile(path)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "give the log", path)
	}
	return f.owner.give(path)
}
