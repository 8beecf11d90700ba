package location

import (
	"bytes"
	"net"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/server"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
	"github.com/lifeboat-dr/lifeboat/model"
)

// cutter passes connections on to a server, and cuts one whenever so many bytes have gone through it, in either
// direction, as the next of its limits says; when there are none left, none.
type cutter struct {
	net.Listener
	to     string
	limits chan int64
	cuts   atomic.Int32
	all    sync.WaitGroup
}

func (c *cutter) run() {
	for {
		in, err := c.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", c.to)
		if err != nil {
			in.Close()
			continue
		}
		limit := int64(1 << 40)
		select {
		case limit = <-c.limits:
		default:
		}
		var left atomic.Int64
		left.Store(limit)
		pass := func(dst, src net.Conn) {
			defer dst.Close()
			defer src.Close()
			buf := make([]byte, 8<<10)
			for {
				n, err := src.Read(buf)
				if left.Add(-int64(n)) < 0 {
					c.cuts.Add(1)
					return
				}
				if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		}
		c.all.Go(func() { pass(out, in) })
		c.all.Go(func() { pass(in, out) })
	}
}

// TestConnectionsThatBreak stores and reads a vault over connections that are cut in the middle of requests and answers:
// it takes longer, and nothing is lost or wrong.
func TestConnectionsThatBreak(t *testing.T) {
	s, err := server.New(server.Options{Folder: t.TempDir(), AppendOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, to: h.Listener.Addr().String(), limits: make(chan int64, 100)}
	c.all.Go(c.run)
	t.Cleanup(func() {
		l.Close()
		h.CloseClientConnections()
		c.all.Wait()
	})
	o := Options{Vault: vault.Options{KDF: cheap.KDF, PackSize: 1 << 20}}
	m := model.Vault{URL: "rest:http://" + l.Addr().String() + "/a/", Password: secretFile(t, "geheim"), Cache: noCache}
	v, closer, err := Init(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(6) {
		c.limits <- 150_000 + i*170_000
	}
	h.CloseClientConnections()
	session, err := v.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	contents := map[object.ID][]byte{}
	n := tree.Node{Name: "f", Type: "file"}
	for i := range uint64(24) {
		o := blobtest.Make(blob.Pack, i, 250_000)
		id, err := session.SaveBlob(t.Context(), object.Data, o.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		contents[id] = o.Bytes
		n.Content, n.Size = append(n.Content, id), n.Size+uint64(len(o.Bytes))
	}
	root, err := session.SaveTree(t.Context(), &tree.Tree{Nodes: []tree.Node{n}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.Commit(t.Context(), &snapshot.Snapshot{Tree: &root, Paths: []string{"/a"}}); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	closer.Close()
	stored := c.cuts.Load()
	if stored == 0 {
		t.Error("no connection was cut while storing")
	}

	for i := range int64(6) {
		c.limits <- 100_000 + i*90_000
	}
	if v, closer, err = Open(t.Context(), m, o); err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	file, err := v.OpenFile(t.Context(), n.Content)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := file.CopyTo(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	for _, id := range n.Content {
		want.Write(contents[id])
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("other bytes come back: %d, want %d", got.Len(), want.Len())
	}
	if c.cuts.Load() == stored {
		t.Error("no connection was cut while reading")
	}
	report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("check: %v, %v", report, err)
	}
}
