package crash

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// etcdEnv turns the test binary into an etcd that keeps its data in the folder that the variable names.
const etcdEnv = "LIFEBOAT_CRASH_ETCD"

// serveEtcd runs an etcd on a free port, prints its endpoint, and ends with its standard input.
func serveEtcd(folder string) int {
	cfg := embed.NewConfig()
	cfg.Dir = folder
	free := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, []url.URL{free}, []url.URL{free}
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:2380"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	<-e.Server.ReadyNotify()
	fmt.Println("http://" + e.Clients[0].Addr().String())
	_, _ = io.Copy(io.Discard, os.Stdin)
	e.Close()
	return 0
}

// startEtcd starts an etcd in a process of its own.
func startEtcd(t *testing.T) (endpoint string, etcd *os.Process) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), etcdEnv+"="+t.TempDir()), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("etcd: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if line = strings.TrimSpace(line); err != nil || !strings.HasPrefix(line, "http://") {
		t.Fatalf("etcd says %q, %v", line, err)
	}
	return line, cmd.Process
}

// frame is a message as it is on the wire.
type frame []byte

// asIs is the codec of frames.
type asIs struct{}

func (asIs) Marshal(v any) ([]byte, error) { return *v.(*frame), nil }
func (asIs) Unmarshal(data []byte, v any) error {
	*v.(*frame) = append(frame(nil), data...)
	return nil
}
func (asIs) Name() string { return "proto" }

// proxy stands between one lifeboat program and etcd. It passes everything on as it is, and notes what the program asks
// and is answered about runs' headers. What it notes lies inside of what the program itself could note: it is etcd's
// client.
type proxy struct {
	endpoint string
	client   int
	to       *grpc.ClientConn
	notes    *notes

	mu   sync.Mutex
	hold func(op) chan struct{} // of a header's write about to leave; it waits until the channel is closed
}

// notes is what all proxies of one etcd have seen, ordered by one clock.
type notes struct {
	clock atomic.Int64
	mu    sync.Mutex
	ops   []op
}

// add notes an operation that is over now.
func (n *notes) add(o op) {
	if o.End = n.clock.Add(1); o.Unknown {
		o.End = math.MaxInt64
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ops = append(n.ops, o)
}

func (n *notes) all() []op {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.ops)
}

func startProxy(t *testing.T, endpoint string, client int, n *notes) *proxy {
	t.Helper()
	to, err := grpc.NewClient(strings.TrimPrefix(endpoint, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(asIs{}), grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{endpoint: "http://" + listener.Addr().String(), client: client, to: to, notes: n}
	server := grpc.NewServer(grpc.ForceServerCodec(asIs{}), grpc.UnknownServiceHandler(p.handle), grpc.MaxRecvMsgSize(64<<20))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("proxy: %v", err)
		}
		to.Close()
	})
	return p
}

// holdNext makes the next write of a header that which is true for wait on its way until release is called; held is
// closed when it waits.
func (p *proxy) holdNext(which func(op) bool) (held <-chan struct{}, release func()) {
	waiting, gate := make(chan struct{}), make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = func(o op) chan struct{} {
		if !which(o) {
			return nil
		}
		p.hold = nil
		close(waiting)
		return gate
	}
	return waiting, sync.OnceFunc(func() { close(gate) })
}

// handle passes one call on.
func (p *proxy) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	ctx := stream.Context()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, md.Copy())
	}
	switch method {
	case "/etcdserverpb.KV/Txn", "/etcdserverpb.KV/Range":
		return p.ask(ctx, method, stream)
	}
	return p.pump(ctx, method, stream)
}

// ask passes on one question and its answer, and notes what it says of headers.
func (p *proxy) ask(ctx context.Context, method string, stream grpc.ServerStream) error {
	var in, out frame
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	var seen op
	var about bool
	var err error
	if method == "/etcdserverpb.KV/Txn" {
		seen, about, err = writeOf(in)
	} else {
		seen, about, err = readOf(in)
	}
	if err != nil {
		return err
	}
	seen.Client, seen.Begin = p.client, p.notes.clock.Add(1)
	if gate := p.held(seen, about); gate != nil {
		<-gate
		ctx = context.WithoutCancel(ctx) // a packet on its way is not called back by its sender
	}
	err = p.to.Invoke(ctx, method, &in, &out)
	if about {
		if aerr := seen.answered(out, err); aerr != nil {
			return aerr
		}
		if err == nil || seen.Write {
			p.notes.add(seen)
		}
	}
	if err != nil {
		return err
	}
	return stream.SendMsg(&out)
}

func (p *proxy) held(o op, about bool) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold == nil || !about || !o.Write {
		return nil
	}
	return p.hold(o)
}

// pump passes messages on in both directions until one side ends.
func (p *proxy) pump(ctx context.Context, method string, stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	to, err := p.to.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	defer group.Wait() // its receive ends with the stream, which ends when this returns or the program goes
	group.Go(func() {
		for {
			var m frame
			if err := stream.RecvMsg(&m); err == io.EOF {
				_ = to.CloseSend()
				return
			} else if err != nil || to.SendMsg(&m) != nil {
				cancel()
				return
			}
		}
	})
	for {
		var m frame
		if err := to.RecvMsg(&m); err == io.EOF {
			return nil
		} else if err != nil {
			return status.Convert(err).Err()
		}
		if err := stream.SendMsg(&m); err != nil {
			return err
		}
	}
}

// writeOf reads what a transaction does to a run's header.
func writeOf(in frame) (o op, about bool, err error) {
	var txn pb.TxnRequest
	if err := proto.Unmarshal(in, &txn); err != nil {
		return o, false, err
	}
	o.Write, o.Cond = true, anyMod
	for _, request := range txn.Success {
		switch r := request.Request.(type) {
		case *pb.RequestOp_RequestPut:
			if isHeader(r.RequestPut.Key) {
				o.Key, about = string(r.RequestPut.Key), true
				if o.Header, err = readHeader(r.RequestPut.Value); err != nil {
					return o, false, err
				}
			}
		case *pb.RequestOp_RequestDeleteRange:
			if key := string(r.RequestDeleteRange.Key); isRunPrefix(key) {
				o.Key, o.Delete, about = key+"h", true, true
			}
		}
	}
	for _, c := range txn.Compare {
		if mod, ok := c.TargetUnion.(*pb.Compare_ModRevision); ok && string(c.Key) == o.Key {
			o.Cond = mod.ModRevision
		} else {
			o.More = true
		}
	}
	return o, about, nil
}

// readOf reads which header a range is about.
func readOf(in frame) (o op, about bool, err error) {
	var r pb.RangeRequest
	if err := proto.Unmarshal(in, &r); err != nil {
		return o, false, err
	}
	return op{Key: string(r.Key)}, isHeader(r.Key) && len(r.RangeEnd) == 0 && r.Revision == 0 && !r.Serializable, nil
}

// answered completes an operation by what etcd answered.
func (o *op) answered(out frame, failed error) error {
	if failed != nil {
		o.Unknown = o.Write
		return nil
	}
	if o.Write {
		var r pb.TxnResponse
		if err := proto.Unmarshal(out, &r); err != nil {
			return err
		}
		o.OK, o.Mod = r.Succeeded, r.Header.Revision
		return nil
	}
	var r pb.RangeResponse
	if err := proto.Unmarshal(out, &r); err != nil {
		return err
	}
	if len(r.Kvs) == 0 {
		return nil
	}
	var err error
	o.Mod = r.Kvs[0].ModRevision
	o.Header, err = readHeader(r.Kvs[0].Value)
	return err
}
