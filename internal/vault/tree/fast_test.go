package tree

import (
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// slowEncode is the format by package encoding/json, which is what restic uses.
func slowEncode(t *testing.T, n *Node) []byte {
	t.Helper()
	j := nodeJSON{
		Name: quote(n.Name), Type: n.Type, Mode: n.Mode,
		ModTime: fixTime(n.ModTime), AccessTime: fixTime(n.AccessTime), ChangeTime: fixTime(n.ChangeTime),
		UID: n.UID, GID: n.GID, User: n.User, Group: n.Group, Inode: n.Inode, DeviceID: n.DeviceID, Size: n.Size,
		Links: n.Links, LinkTarget: n.LinkTarget, Xattrs: n.Xattrs, Generic: n.Generic, Device: n.Device,
		Content: n.Content, Subtree: n.Subtree, Error: n.Error,
	}
	if n.Type == File && j.Content == nil {
		j.Content = []object.ID{}
	}
	if !utf8.ValidString(n.LinkTarget) {
		j.LinkTargetRaw = []byte(n.LinkTarget)
	}
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// slowDecode is Decode without the parser.
func slowDecode(data []byte) (*Tree, error) {
	var j struct {
		Nodes []Node `json:"nodes"`
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, err
	}
	return &Tree{j.Nodes, object.Unknown(data, knownOfTree)}, nil
}

// anyText makes strings with all that JSON and quoting make of bytes.
func anyText(r *rand.Rand, n int) string {
	alphabet := []string{"a", "b", "Z", "0", " ", "\"", "\\", "<", ">", "&", "'", "\n", "\t", "\b", "\f", "\x01", "\x7f", "\xff", "\xc3", "é", "\u2028", "\u202e", "日", "🙂", "\ufffd"}
	var s strings.Builder
	for range r.IntN(n) {
		s.WriteString(alphabet[r.IntN(len(alphabet))])
	}
	return s.String()
}

func anyNode(r *rand.Rand, name string) *Node {
	times := []time.Time{{}, time.Unix(r.Int64N(4e9)-1e9, r.Int64N(1e9)), time.Unix(r.Int64N(1e9), 0).UTC(), time.Unix(1e9, 120e6).In(time.FixedZone("", -3*3600-1800)),
		time.Unix(1<<40, 5), time.Unix(-1<<40, 5)}
	n := &Node{
		Name: name, Type: []Type{File, Dir, Symlink, Device, CharDevice, Fifo, "of tomorrow"}[r.IntN(7)],
		Mode: fs.FileMode(r.Uint32()), ModTime: times[r.IntN(len(times))], AccessTime: times[r.IntN(len(times))], ChangeTime: times[r.IntN(len(times))],
		UID: r.Uint32(), GID: r.Uint32N(3), User: anyText(r, 4), Group: anyText(r, 4), Inode: r.Uint64() >> r.IntN(64), DeviceID: r.Uint64N(2),
		Size: r.Uint64N(3), Links: r.Uint64N(3), LinkTarget: anyText(r, 6), Device: r.Uint64N(2), Error: anyText(r, 2),
	}
	if r.IntN(2) == 0 {
		n.AccessTime = n.ModTime
	}
	for range r.IntN(4) {
		n.Content = append(n.Content, object.Hash([]byte{byte(r.Uint32())}))
	}
	for range r.IntN(2) {
		n.Xattrs = append(n.Xattrs, Xattr{Name: anyText(r, 9), Value: [][]byte{nil, {}, {1, 2, 255}}[r.IntN(3)]})
	}
	if n.Type == Dir {
		id := object.Hash([]byte(name))
		n.Subtree = &id
	}
	return n
}

// TestSameAsEncodingJSON holds that the encoder and the parser agree with package encoding/json.
func TestSameAsEncodingJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	parsed := 0
	for range 5000 {
		var nodes []*Node
		for _, name := range []string{"a" + strings.NewReplacer("/", "").Replace(anyText(r, 8)), "b"}[:1+r.IntN(2)] {
			nodes = append(nodes, anyNode(r, name))
		}
		text, err := Encode(nodes)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"nodes":[`
		for i, n := range nodes {
			if i > 0 {
				want += ","
			}
			want += string(slowEncode(t, n))
		}
		if want += "]}\n"; string(text) != want {
			t.Fatalf("got  %s\nwant %s", text, want)
		}
		slow, err := slowDecode(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		fast, ok := parse(text)
		if !ok {
			continue
		}
		parsed++
		if diff := cmp.Diff(slow, fast); diff != "" {
			t.Fatalf("%s\n%s", diff, text)
		}
	}
	if parsed < 1000 {
		t.Errorf("only %d of 5000 trees were parsed", parsed)
	}
}

// FuzzParse holds that what the parser understands is what package encoding/json understands.
func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		text, err := Encode([]*Node{anyNode(r, "a"), anyNode(r, "b")})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"nodes":[]}`))
	f.Add([]byte(`{"nodes":[{"name":"a","type":"file","content":null,"extended_attributes":[{"name":"x","value":null}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fast, ok := parse(data)
		if !ok {
			return
		}
		slow, err := slowDecode(data)
		if err != nil {
			t.Fatalf("the parser takes what is no JSON: %v", err)
		}
		if diff := cmp.Diff(slow, fast); diff != "" {
			t.Error(diff)
		}
	})
}

var sink *Tree

func benchTree(b *testing.B) []byte {
	b.Helper()
	var nodes []*Node
	for i := range 1000 {
		at := time.Unix(1.7e9, int64(i)*1e6+1)
		nodes = append(nodes, &Node{Name: "file-" + string(rune('a'+i/100)) + string(rune('a'+i/10%10)) + string(rune('a'+i%10)), Type: File, Mode: 0o644, ModTime: at, AccessTime: at,
			ChangeTime: at, User: "root", Group: "root", Inode: uint64(1e6 + i), DeviceID: 65024, Size: 8000, Links: 1, Content: []object.ID{object.Hash([]byte{byte(i)})}})
	}
	text, err := Encode(nodes)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

func BenchmarkDecode(b *testing.B) {
	text := benchTree(b)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		t, err := Decode(text)
		if err != nil {
			b.Fatal(err)
		}
		sink = t
	}
}

func BenchmarkEncode(b *testing.B) {
	text := benchTree(b)
	t, err := Decode(text)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := t.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
