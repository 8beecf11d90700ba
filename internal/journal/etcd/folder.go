package etcd

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// FolderOptions change how a folder's journal is opened. The zero value is right.
type FolderOptions struct {
	Logger      *slog.Logger  // etcd's log at level debug; nil: nowhere
	Command     string        // what other processes are told about this one; empty: its command line
	CallTimeout time.Duration // of each call; zero: DefaultCallTimeout
	OpenTimeout time.Duration // how long to wait for a host that does not answer; zero: DefaultCallTimeout
	MinFree     int64         // bytes of disk space without which no journal is started; zero: 200 MB
	Retain      int64         // revisions that watches can go back; zero: 10,000

	dir string
}

const (
	defaultMinFree = 200e6
	defaultRetain  = 10_000
	probeTimeout   = time.Second // for a host's first answer
	maxCommand     = 200         // bytes of a command line in a lock file
)

// Exists reports whether there is a journal in a state folder. What only reads need not open, and so create, one.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, dataName, "member"))
	return err == nil
}

// OpenFolder opens the journal in the state folder dir, and creates it where there is none. The process becomes the
// journal's host unless another is; then it reaches that one, and may become host when it ends. Errors: Unavailable
// when the host does not answer within the open timeout (the hint names it) or the disk is full, Denied when the folder
// is somebody else's, Corrupt when the data is damaged.
func OpenFolder(ctx context.Context, dir string, opt FolderOptions) (journal.Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "open", dir)
	}
	opt = opt.withDefaults(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fileError(err, "create", dir)
	}
	quietGRPC()
	f := &folder{opt: opt, changed: make(chan struct{}), done: make(chan struct{})}
	octx, cancel := context.WithTimeout(ctx, opt.OpenTimeout)
	defer cancel()
	a, err := f.acquire(octx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, failure.Wrap(ctx.Err(), "open", "journal in "+dir)
		}
		return nil, err
	}
	f.publish(a.link, nil)
	var life context.Context
	life, f.end = context.WithCancel(context.Background())
	go f.keep(life, a)
	return newStore(f, opt.CallTimeout, f.incarnation), nil
}

func (opt FolderOptions) withDefaults(dir string) FolderOptions {
	opt.dir = dir
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Command == "" {
		opt.Command = strings.Join(append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...), " ")
	}
	if len(opt.Command) > maxCommand {
		opt.Command = strings.ToValidUTF8(opt.Command[:maxCommand], "") + "…"
	}
	if opt.CallTimeout == 0 {
		opt.CallTimeout = DefaultCallTimeout
	}
	if opt.OpenTimeout == 0 {
		opt.OpenTimeout = DefaultCallTimeout
	}
	if opt.MinFree == 0 {
		opt.MinFree = defaultMinFree
	}
	if opt.Retain == 0 {
		opt.Retain = defaultRetain
	}
	return opt
}

// folder is the source of a state folder's journal: the link is to the member that this process hosts, or to the
// process that does.
type folder struct {
	opt         FolderOptions
	incarnation string // set by the first acquire, compared by every later one
	end         context.CancelFunc
	done        chan struct{} // closed when keep ended

	mu      sync.Mutex
	current *link
	why     error         // why there is no current link
	changed chan struct{} // closed and replaced when current or why changes
}

// acquired is a link and how to give it up.
type acquired struct {
	*link
	release func()
}

// publish makes l the current link, or says why there is none.
func (f *folder) publish(l *link, why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current, f.why = l, why
	close(f.changed)
	f.changed = make(chan struct{})
}

// link implements source.
func (f *folder) link(ctx context.Context) (*link, error) {
	for {
		f.mu.Lock()
		l, why, changed := f.current, f.why, f.changed
		f.mu.Unlock()
		if l != nil {
			select {
			case <-l.down: // about to be replaced
			default:
				return l, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if why == nil {
				why = failure.WrapAs(failure.Unavailable, ctx.Err(), "reach", "journal in "+f.opt.dir)
			}
			return nil, why
		}
	}
}

// silent implements source: a host that kept a call waiting has to prove itself before it gets the next.
func (f *folder) silent(l *link) {
	if l.remote {
		l.fail(failure.New(failure.Unavailable, "reach", "journal in "+f.opt.dir, "its host does not answer").
			WithHint("%s", l.who))
	}
}

// close implements source.
func (f *folder) close() error {
	f.end()
	<-f.done
	return nil
}

// keep replaces the link whenever it goes down, until ctx ends.
func (f *folder) keep(ctx context.Context, a *acquired) {
	defer close(f.done)
	for {
		select {
		case <-ctx.Done():
			a.fail(nil)
			a.release()
			f.publish(nil, nil)
			return
		case <-a.down:
		}
		f.publish(nil, a.why)
		a.release()
		for a = nil; a == nil; {
			next, err := f.acquire(ctx)
			if ctx.Err() != nil {
				if err == nil {
					next.fail(nil)
					next.release()
				}
				return
			}
			if err == nil {
				a = next
				break
			}
			f.opt.Logger.Warn("the journal is not available", "error", err, "hint", failure.HintOf(err))
			f.publish(nil, err)
			select {
			case <-ctx.Done():
			case <-time.After(hostRetry):
			}
		}
		f.publish(a.link, nil)
	}
}

const (
	hostRetry    = 500 * time.Millisecond // after the journal failed to start
	attachRetry  = 10 * time.Millisecond  // while another process is about to host it, at first
	attachSlower = 200 * time.Millisecond // and at last
)

// acquire becomes the host, or finds it. It fails when hosting does, and else goes on until ctx ends.
func (f *folder) acquire(ctx context.Context) (*acquired, error) {
	for wait := attachRetry; ; wait = min(2*wait, attachSlower) {
		l, err := tryLock(f.opt.dir)
		if err != nil {
			return nil, err
		}
		if l != nil {
			return f.host(ctx, l)
		}
		a, err := f.attach(ctx)
		if err == nil || errors.Is(err, errReplaced) {
			return a, err
		}
		f.report(err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
	}
}

// report says why there is no link yet.
func (f *folder) report(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.why = why
	close(f.changed)
	f.changed = make(chan struct{})
}

// errReplaced is met when the journal was restored or moved away while the store was open.
var errReplaced = errors.New("another journal is in its place")

// identify holds a link against the incarnation of the first one.
func (f *folder) identify(ctx context.Context, c *client) error {
	incarnation, err := c.incarnation(ctx)
	if err != nil {
		return err
	}
	if f.incarnation == "" {
		f.incarnation = incarnation
	}
	if f.incarnation != incarnation {
		return failure.WrapAs(failure.Unavailable, errReplaced, "reach", "journal in "+f.opt.dir).
			WithHint("start this command again")
	}
	return nil
}

// host hosts the journal.
func (f *folder) host(ctx context.Context, l *lock) (*acquired, error) {
	h, err := startHost(ctx, f.opt.dir, l, f.opt)
	if err != nil {
		return nil, err
	}
	if err := f.identify(ctx, h.link.client); err != nil {
		h.shut()
		return nil, failure.Wrap(err, "start", "journal in "+f.opt.dir)
	}
	return &acquired{h.link, h.shut}, nil
}

// attach reaches the process that hosts the journal.
func (f *folder) attach(ctx context.Context) (*acquired, error) {
	owner := readHolder(f.opt.dir)
	fault := func(err error) error {
		if errors.Is(err, fs.ErrPermission) {
			return fileError(err, "reach", f.opt.dir)
		}
		return failure.WrapAs(failure.Unavailable, err, "reach", "journal in "+f.opt.dir).
			WithHint("%s", readHolder(f.opt.dir).hint(f.opt.dir))
	}
	if owner.Socket == "" {
		return nil, fault(errors.New("its host is starting"))
	}
	if stopped(owner.PID) {
		return nil, fault(errors.New("its host is stopped"))
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := probe(ctx, owner.Socket); err != nil {
		return nil, fault(err)
	}
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"unix:" + socketName}, // a name for gRPC; the dialer knows the path
		DialOptions: append(dialOptions(), grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", owner.Socket)
		})),
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second, PermitWithoutStream: true,
		MaxUnaryRetries: 1, Logger: zapFor(f.opt.Logger), Context: context.Background(),
	})
	if err != nil {
		return nil, fault(err)
	}
	l := newLink(&client{etcd: etcd, prefix: DefaultPrefix, remote: true, who: owner.hint(f.opt.dir)})
	if err = waitReady(ctx, etcd.ActiveConnection()); err == nil {
		err = f.identify(ctx, l.client)
	}
	if err != nil {
		_ = etcd.Close()
		if errors.Is(err, errReplaced) {
			return nil, err
		}
		return nil, fault(err)
	}
	gone := make(chan struct{})
	go func() { // a connection that breaks is how the end of the host shows
		defer close(gone)
		conn := etcd.ActiveConnection()
		for conn.GetState() == connectivity.Ready && conn.WaitForStateChange(context.Background(), connectivity.Ready) {
		}
		l.fail(failure.New(failure.Unavailable, "reach", "journal in "+f.opt.dir, "its host is gone"))
	}()
	return &acquired{l, func() {
		_ = etcd.Close() // says only that its context is canceled
		<-gone
	}}, nil
}

// probe tells at once, without gRPC's patience, whether anybody listens.
func probe(ctx context.Context, socket string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return conn.Close()
}
