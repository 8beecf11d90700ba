package pgbase

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

func TestNamesOfRelations(t *testing.T) {
	for name, want := range map[string]*relation{
		"1259":        {number: "1259"},
		"16384.1":     {number: "16384", segment: 1},
		"16384_fsm":   {number: "16384", fork: "fsm"},
		"16384_vm.12": {number: "16384", fork: "vm", segment: 12},
		"16384_init":  {number: "16384", fork: "init"},
		"":            nil, ".1": nil, "_fsm": nil, "16384.": nil, "16384.0": nil, "16384.01": nil, "16384_": nil, "16384_other": nil, "t3_16384": nil,
		"pg_control": nil, "PG_VERSION": nil, "016384": nil, "16384.1.2": nil, "16384.4294967296": nil, "-1": nil,
	} {
		got, ok := parseRelation(name)
		if ok != (want != nil) || ok && got != *want {
			t.Errorf("%q: %+v, %v; want %+v", name, got, ok, want)
		}
	}
	for name, want := range map[string]bool{"t3_16384": true, "t12_16384_fsm.1": true, "t_16384": false, "tx_1": false, "t3_": false, "16384": false, "t3_x": false} {
		if got := temporary(name); got != want {
			t.Errorf("%q is temporary: %v, want %v", name, got, want)
		}
	}
	for folder, want := range map[string]bool{"base/5": true, "pg_tblspc/16400/PG_15_202209061/5": true, "base": false, "base/pgsql_tmp": false, "global": false,
		"pg_tblspc/16400/PG_15_202209061": false, "pg_tblspc/16400/other/5": false, "base/5/6": false, "x/5": false} {
		if got := database(folder); got != want {
			t.Errorf("%q is a database's folder: %v, want %v", folder, got, want)
		}
	}
}

// soundPage makes a page with a good checksum.
func soundPage(number uint32, lsn pgwal.LSN) []byte {
	p := bytes.Repeat([]byte{0x42}, pgwal.PageSize)
	binary.LittleEndian.PutUint32(p, uint32(lsn>>32))
	binary.LittleEndian.PutUint32(p[4:], uint32(lsn))
	binary.LittleEndian.PutUint16(p[14:], 100)
	binary.LittleEndian.PutUint16(p[8:], pgwal.PageChecksum((*[pgwal.PageSize]byte)(p), number))
	return p
}

func torn(page []byte) []byte {
	p := bytes.Clone(page)
	p[6000]++
	return p
}

func TestOlderPages(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pages []pgwal.LSN
		want  bool
	}{
		{"all before", []pgwal.LSN{1, 99}, true},
		{"one at it", []pgwal.LSN{1, 100}, false},
		{"one behind it", []pgwal.LSN{1, 1 << 40}, false},
		{"one that is new", []pgwal.LSN{1, 0}, false},
	} {
		var data []byte
		for _, l := range tt.pages {
			data = append(data, soundPage(0, l)...)
		}
		if got := older(data, 100); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// reads gives another content each time, the last one again and again.
type reads struct{ pages [][]byte }

func (r *reads) ReadAt(p []byte, _ int64) (int, error) {
	n := copy(p, r.pages[0])
	if len(r.pages) > 1 {
		r.pages = r.pages[1:]
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func TestWhichPagesAreDamaged(t *testing.T) {
	const start, stop = 1000, 2000
	old, new, late := soundPage(131072+7, 10), soundPage(131072+7, 1500), soundPage(131072+7, 2001)
	zero := make([]byte, pgwal.PageSize)
	halfZero := append(make([]byte, 4096), old[4096:]...)
	for _, tt := range []struct {
		name  string
		page  []byte
		again [][]byte // nil: it cannot be read again
		want  int64
		kept  []byte // what is stored; nil: page
	}{
		{"sound", old, nil, 0, nil},
		{"never used", zero, nil, 0, nil},
		{"damaged before the backup", torn(old), nil, 1, nil},
		{"written meanwhile", torn(new), nil, 0, nil},
		{"from the future", torn(late), nil, 1, nil},
		{"written for the first time meanwhile", halfZero, nil, 0, nil},
		{"sound when it is read again", torn(old), [][]byte{torn(old), new}, 0, new},
		{"damaged however often it is read", torn(old), [][]byte{torn(old)}, 1, nil},
		{"without a header however often it is read", halfZero, [][]byte{halfZero}, 1, nil},
		{"cut off meanwhile", torn(old), [][]byte{old[:100]}, 0, append(bytes.Clone(old[:100]), zero[100:]...)},
		{"of another place", soundPage(7, 10), nil, 1, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &pages{start: start, segment: 131072}
			data := append(soundPage(131072+6, 10), tt.page...)
			f := &file{path: "base/5/1259.1", rel: &relation{number: "1259", segment: 1}}
			if tt.again != nil {
				f.src = &source{ReaderAt: &reads{tt.again}}
			}
			sound, err := p.check(t.Context(), block{f: f, at: 6 * pgwal.PageSize, data: data})
			if err != nil {
				t.Fatal(err)
			}
			damaged, total := p.judge(stop)
			if total != tt.want || int64(len(damaged)) != tt.want || sound && tt.want > 0 {
				t.Errorf("%s: %d damaged (%v), sound %v; want %d", tt.name, total, damaged, sound, tt.want)
			}
			if total == 1 && damaged[0] != "base/5/1259.1 block 131079" {
				t.Errorf("%s: %q", tt.name, damaged)
			}
			want := tt.kept
			if want == nil {
				want = tt.page
			}
			if !bytes.Equal(data[pgwal.PageSize:], want) {
				t.Errorf("%s: another page is stored than the one that was judged", tt.name)
			}
		})
	}
}

// manifest makes one as the server does.
func manifest(files ...string) string {
	text := "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n" + strings.Join(files, ",\n") + "\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1 }\n],\n"
	return text + fmt.Sprintf("\"Manifest-Checksum\": \"%x\"}\n", sha256.Sum256([]byte(text)))
}

func TestManifests(t *testing.T) {
	var sum [4]byte
	binary.LittleEndian.PutUint32(sum[:], crc32.Checksum([]byte("hello"), castagnoli))
	one := fmt.Sprintf(`{ "Path": "base/5/1259", "Size": 5, "Last-Modified": "2026-05-04 12:00:00 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "%x" }`, sum)
	good := manifest(one, `{ "Encoded-Path": "66c3", "Size": 0 }`)
	var got []listed
	collect := func(l listed) error { got = append(got, l); return nil }
	if err := readManifest(byByte{strings.NewReader(good)}, collect); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Path != "base/5/1259" || got[1].Path != "f\xc3" {
		t.Errorf("it lists %+v", got)
	}
	for _, tt := range []struct {
		size int64
		text string
		want bool
	}{{5, "hello", true}, {5, "hellO", false}, {4, "hello", false}} {
		if ok := got[0].agrees(tt.size, crc32.Checksum([]byte(tt.text), castagnoli)); ok != tt.want {
			t.Errorf("%q of %d bytes agrees: %v", tt.text, tt.size, ok)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "no manifest": "[]", "cut off": good[:len(good)/2], "changed": strings.Replace(good, "1259", "1260", 1), "without its checksum": "{}\n",
	} {
		if err := readManifest(strings.NewReader(text), func(listed) error { return nil }); failure.KindOf(err) != failure.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop := failure.New(failure.Corrupt, "compare", "x", "differs")
	if err := readManifest(strings.NewReader(good), func(listed) error { return stop }); err != error(stop) {
		t.Errorf("the reason for stopping becomes %v", err)
	}
}

type byByte struct{ io.Reader }

func (r byByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

func TestControlFiles(t *testing.T) {
	for _, length := range []int{288, 292, 300} { // as versions have it
		data := make([]byte, 8192)
		for i := range length {
			data[i] = byte(i * 7)
		}
		binary.LittleEndian.PutUint64(data, 77)
		binary.LittleEndian.PutUint64(data[40:], 0x2000028)
		binary.LittleEndian.PutUint32(data[48:], 3)
		binary.LittleEndian.PutUint32(data[length:], crc32.Checksum(data[:length], castagnoli))
		got, err := readControl(data)
		if err != nil || got != (control{77, 0x2000028, 3}) {
			t.Errorf("%d: %+v, %v", length, got, err)
		}
		for at := range length + 4 {
			data[at] ^= 1
			if _, err := readControl(data); failure.KindOf(err) != failure.Corrupt {
				t.Errorf("%d: with byte %d changed: %v", length, at, err)
			}
			data[at] ^= 1
		}
	}
	for _, data := range [][]byte{nil, make([]byte, 10), make([]byte, 8192)} {
		if _, err := readControl(data); failure.KindOf(err) != failure.Corrupt {
			t.Errorf("%d zeros: %v", len(data), err)
		}
	}
}

func TestLabels(t *testing.T) {
	text := "START WAL LOCATION: 16/B374D848 (file 0000000300000016000000B3)\nCHECKPOINT LOCATION: 16/B374D880\nBACKUP METHOD: streamed\nSTART TIMELINE: 3\n"
	got, err := parseLabel(text)
	if diff := cmp.Diff(label{0x16B374D848, 3}, got, cmp.AllowUnexported(label{})); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	for _, bad := range []string{"", "START WAL LOCATION: x\nSTART TIMELINE: 3\n", "START WAL LOCATION: 1/2 (file x)\n", "START WAL LOCATION: 1/2 (file x)\nSTART TIMELINE: -1\n"} {
		if _, err := parseLabel(bad); failure.KindOf(err) != failure.Corrupt {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestHostileArchives: what comes from a server cannot lead out of its folder, come twice, or be of a strange type.
func TestHostileArchives(t *testing.T) {
	for name, h := range map[string][]tar.Header{
		"above":  {{Typeflag: tar.TypeDir, Name: "../x"}},
		"root":   {{Typeflag: tar.TypeDir, Name: "/etc"}},
		"device": {{Typeflag: tar.TypeBlock, Name: "base/x"}},
		"twice":  {{Typeflag: tar.TypeSymlink, Name: "base/x"}, {Typeflag: tar.TypeSymlink, Name: "base/./x"}},
	} {
		tk := &taker{capture: &capture{root: newFolder(tree.Node{})}}
		var err error
		for i := range h {
			err = tk.entry("/data", "", &h[i], strings.NewReader(""))
		}
		if failure.KindOf(err) != failure.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	tk := &taker{capture: &capture{root: newFolder(tree.Node{})}}
	if err := tk.Archive(context.Background(), "base.tar", strings.NewReader(strings.Repeat("noise", 300))); failure.KindOf(err) != failure.Corrupt {
		t.Errorf("an archive that is none: %v", err)
	}
}
