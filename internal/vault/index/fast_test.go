package index

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// wire is the format, for package encoding/json.
type wire struct {
	Packs []wirePack `json:"packs"`
}

type wirePack struct {
	ID    object.ID  `json:"id"`
	Blobs []wireBlob `json:"blobs"`
}

type wireBlob struct {
	ID          object.ID   `json:"id"`
	Type        object.Type `json:"type"`
	Offset      uint32      `json:"offset"`
	Length      uint32      `json:"length"`
	PlainLength uint32      `json:"uncompressed_length,omitempty"`
}

func anyIndex(r *rand.Rand, packs, blobs int) []Pack {
	id := func() (id object.ID) {
		for i := range id {
			id[i] = byte(r.Uint32())
		}
		return id
	}
	all := []Pack{}
	for range packs {
		p := Pack{ID: id(), Entries: []pack.Entry{}}
		for range blobs {
			p.Entries = append(p.Entries, pack.Entry{Handle: object.Handle{Type: object.Type(r.IntN(2)), ID: id()}, Offset: r.Uint32N(1 << 24), Length: 32 + r.Uint32N(1<<20), PlainLength: r.Uint32N(2) * r.Uint32()})
		}
		all = append(all, p)
	}
	return all
}

// TestSameAsEncodingJSON holds that index files are what package encoding/json would write, and are read without it.
func TestSameAsEncodingJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 7} {
		all := anyIndex(r, n, n*3)
		w := wire{Packs: []wirePack{}}
		for _, p := range all {
			blobs := []wireBlob{}
			for _, e := range p.Entries {
				blobs = append(blobs, wireBlob{e.ID, e.Type, e.Offset, e.Length, e.PlainLength})
			}
			w.Packs = append(w.Packs, wirePack{p.ID, blobs})
		}
		want, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Encode(all)
		if err != nil || string(got) != string(want) {
			t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
		}
		for _, text := range [][]byte{got, append(got, '\n')} {
			back, ok := parse(text)
			if diff := cmp.Diff(all, back); !ok || diff != "" {
				t.Errorf("%v\n%s", ok, diff)
			}
		}
	}
	if _, err := Encode([]Pack{{Entries: []pack.Entry{{Handle: object.Handle{Type: 7}}}}}); err == nil {
		t.Error("an unknown type is written")
	}
}

// FuzzFast holds that what is read without package encoding/json is what it reads.
func FuzzFast(f *testing.F) {
	text, err := Encode(anyIndex(rand.New(rand.NewPCG(5, 6)), 2, 3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"packs":[]}`))
	f.Add([]byte(`{"packs":[{"id":"` + strings.Repeat("0", 64) + `","blobs":[{"id":"` + strings.Repeat("0", 64) + `","type":"tree","offset":0,"length":70,"uncompressed_length":}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := parse(data)
		if !ok {
			return
		}
		want, err := parseAny(data)
		if err != nil {
			t.Fatalf("taken without a look at what is wrong: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text, err := Encode(anyIndex(rand.New(rand.NewPCG(3, 4)), 50, 1000))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
