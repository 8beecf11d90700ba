package etcd

import (
	"context"
	"errors"
	"expvar"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// How the member is tuned: it is alone, so elections cost nothing but the time until the first, nobody has to be caught
// up from its log, and what it keeps on disk is for its own restart only.
const (
	segmentBytes  = 4 << 20 // of its write-ahead log; two are on disk at least
	tickMs        = 100
	electionMs    = 500
	snapshotEvery = 5000 // entries
	keptEntries   = 100  // in memory after a snapshot
	quotaBytes    = 4 << 30
	requestBytes  = 2 << 20 // above journal.MaxBytes with its packing
	startTimeout  = 30 * time.Second
	drainTimeout  = 2 * time.Second
)

var setSegment sync.Once

// host is the embedded member and the socket it answers on.
type host struct {
	*link
	etcd   *embed.Etcd
	gaveUp *giveUp
	lock   *lock
	grpc   *grpc.Server
	calls  atomic.Int64 // in flight over the socket
	socket string
	opt    FolderOptions
	life   context.Context // ends with shut
	end    context.CancelFunc
	work   sync.WaitGroup
}

// startHost starts the member over dir's data and answers on the socket. It takes the lock over, and gives it back when
// it fails.
func startHost(ctx context.Context, dir string, l *lock, opt FolderOptions) (*host, error) {
	h := &host{gaveUp: newGiveUp(), lock: l, opt: opt}
	h.life, h.end = context.WithCancel(context.Background())
	err := h.start(ctx, dir)
	if err != nil {
		h.shut()
		return nil, err
	}
	h.work.Add(2)
	go h.watchMember()
	go h.keepSmall()
	return h, nil
}

func (h *host) start(ctx context.Context, dir string) error {
	if err := enoughSpace(dir, h.opt.MinFree); err != nil {
		return err
	}
	data := filepath.Join(dir, dataName)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fileError(err, "create", data)
	}
	socket, err := socketPath(dir)
	if err != nil {
		return err
	}
	if err := h.lock.write(holder{PID: os.Getpid(), Command: h.opt.Command, Socket: socket}); err != nil {
		return fileError(err, "write", filepath.Join(dir, lockName))
	}
	setSegment.Do(func() { wal.SegmentSizeBytes = segmentBytes })
	if err := h.startMember(ctx, data); err != nil {
		return err
	}
	h.link = newLink(&client{etcd: v3client.New(h.etcd.Server), prefix: DefaultPrefix})
	return h.serve(data, socket)
}

// startMember starts etcd and waits until it can write. It starts in a goroutine of its own because that is what ends
// when etcd finds its data beyond repair.
func (h *host) startMember(ctx context.Context, data string) error {
	starting.Lock()
	defer starting.Unlock()
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	started := make(chan result, 1)
	go func() {
		var r result
		r.err = errors.New("etcd gave up")
		defer func() { started <- r }()
		r.etcd, r.err = embed.StartEtcd(memberConfig(data, newZap(h.opt.Logger, h.gaveUp)))
	}()
	r := <-started
	select {
	case <-h.gaveUp.c:
		return brokenError(h.gaveUp.reason, data)
	default:
	}
	if r.err != nil {
		return brokenError(r.err, data)
	}
	h.etcd = r.etcd
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	hurry := time.NewTicker(time.Millisecond)
	defer hurry.Stop()
	for {
		select {
		case <-h.etcd.Server.ReadyNotify():
			return nil
		case <-h.gaveUp.c:
			return brokenError(h.gaveUp.reason, data)
		case err := <-h.etcd.Err():
			return brokenError(err, data)
		case <-ctx.Done():
			return failure.Wrap(ctx.Err(), "start", "journal in "+data)
		case <-hurry.C:
			h.elect(ctx)
		}
	}
}

// starting lets one member of a process start at a time: raft's status is that of the one that was started last.
var starting sync.Mutex

// settled says whether raft has taken note that all it holds is applied. Before that it must not stand for election: it
// would look for changes of membership in entries that etcd, further on, may have dropped from memory, and panic.
func settled() bool {
	published, ok := expvar.Get("raft.status").(expvar.Func)
	if !ok {
		return false
	}
	status, ok := published.Value().(raft.Status)
	return ok && status.GetCommit() > 0 && status.Applied == status.GetCommit()
}

// elect has the member stand for election now instead of after a random part of the election timeout, in which it would
// wait for messages of others: it is told what a leader tells the member that shall follow it (the raft thesis, 3.10).
// Raft ignores it where it may not stand yet, and once it leads.
func (h *host) elect(ctx context.Context) {
	if h.etcd.Server.Leader() != 0 || !settled() {
		return
	}
	self := uint64(h.etcd.Server.MemberID())
	err := h.etcd.Server.Process(ctx, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), To: &self, From: &self})
	if err != nil {
		h.opt.Logger.Debug("the journal's election waits for its timeout", "error", err)
	}
}

// memberConfig is a member without any socket: its URLs are names only.
func memberConfig(data string, log *zap.Logger) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Dir = data
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil, nil
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:2380"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.TickMs, cfg.ElectionMs = tickMs, electionMs
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = snapshotEvery, keptEntries
	cfg.MaxSnapFiles, cfg.MaxWalFiles = 2, 2
	cfg.QuotaBackendBytes, cfg.MaxRequestBytes = quotaBytes, requestBytes
	cfg.MaxConcurrentStreams = math.MaxUint32
	cfg.AutoCompactionRetention = "0" // keepSmall does it
	cfg.BootstrapDefragThresholdMegabytes = defragAbove >> 20
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	cfg.LogOutputs = []string{"/dev/null"} // not opened: the builder is ours
	return cfg
}

// brokenError maps why a member does not start or go on.
func brokenError(err error, data string) error {
	mapped := failure.From(fileError(err, "start", "journal in "+data))
	if mapped.Hint != "" || errors.Is(err, context.Canceled) {
		return mapped
	}
	return failure.WrapAs(failure.Corrupt, err, "start", "journal in "+data).
		WithHint("its data is damaged: restore %s from a copy, or move it away to begin with an empty journal "+
			"(recovery points are listed from the vaults, not from it)", data)
}

// serve answers etcd's own protocol on the socket, which only the folder's owner can reach: it is bound inside of the
// data folder, narrowed, and then moved to its place over what a dead host left there.
func (h *host) serve(data, socket string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if _, err := h.link.incarnation(ctx); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "start", "journal in "+data)
	}
	bound := filepath.Join(filepath.Dir(socket), socketName+".new")
	if filepath.Dir(socket) == filepath.Dir(data) && len(data)+2 <= maxSocketPath {
		bound = filepath.Join(data, "s")
	}
	_ = os.Remove(bound)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: bound, Net: "unix"})
	if err != nil {
		return fileError(err, "listen on", bound)
	}
	listener.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(bound, 0o600), os.Rename(bound, socket)); err != nil {
		_ = listener.Close()
		return fileError(err, "listen on", socket)
	}
	h.socket = socket
	h.grpc = v3rpc.Server(h.etcd.Server, nil, h.count, grpc.KeepaliveEnforcementPolicy(
		keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}))
	h.work.Add(1)
	go func() {
		defer h.work.Done()
		if err := h.grpc.Serve(listener); err != nil {
			h.fail(failure.WrapAs(failure.Unavailable, err, "serve", socket))
		}
	}()
	return nil
}

// count knows the calls in flight, so that closing can wait for them and not for watches, which never end.
func (h *host) count(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	h.calls.Add(1)
	defer h.calls.Add(-1)
	return handler(ctx, req)
}

// watchMember notices when the member ends by itself.
func (h *host) watchMember() {
	defer h.work.Done()
	select {
	case <-h.life.Done():
	case <-h.gaveUp.c:
		h.opt.Logger.Error("the journal gave up", "error", h.gaveUp.reason)
		h.fail(brokenError(h.gaveUp.reason, h.opt.dir))
	case <-h.etcd.Server.StopNotify():
		h.fail(failure.New(failure.Unavailable, "host", "journal in "+h.opt.dir, "etcd stopped"))
	}
}

// shut ends the host in an order in which nobody is left with half an answer: no new calls, the calls in flight, the
// socket, the member, the lock.
func (h *host) shut() {
	h.end()
	if h.link != nil {
		h.fail(nil)
	}
	if h.grpc != nil {
		_ = os.Remove(h.socket)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			h.grpc.GracefulStop()
		}()
		h.drain(drained)
		h.grpc.Stop()
		<-drained
	}
	h.work.Wait()
	if h.link != nil {
		_ = h.link.etcd.Close() // says only that its context is canceled
	}
	if h.etcd != nil {
		h.etcd.Close()
	}
	h.lock.release()
}

// drain waits for the calls in flight, not longer than drainTimeout.
func (h *host) drain(drained <-chan struct{}) {
	deadline := time.After(drainTimeout)
	for h.calls.Load() > 0 {
		select {
		case <-drained:
			return
		case <-deadline:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// enoughSpace refuses a disk on which the journal would soon have nowhere to write.
func enoughSpace(dir string, least int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fileError(err, "examine", dir)
	}
	free := int64(fs.Bavail) * int64(fs.Bsize)
	if free >= least {
		return nil
	}
	return failure.New(failure.Unavailable, "start", "journal in "+dir, "%d MB of disk space left, %d MB are needed",
		free/1e6, least/1e6).WithHint("free some disk space at %s, or set state in lifeboat.yaml to a folder on another disk", dir)
}
