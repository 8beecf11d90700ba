package tree_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

var (
	sub = object.Hash([]byte("sub"))
	at  = time.Date(2020, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
)

func sample() *tree.Tree {
	return &tree.Tree{Nodes: []tree.Node{
		{Name: "a\xffb", Type: tree.Symlink, Mode: fs.ModeSymlink | 0o777, LinkTarget: "\xfe/x", ModTime: at},
		{Name: "b\"\\\n", Type: tree.File, Mode: 0o644 | fs.ModeSetuid, Size: 5, Content: []object.ID{sub}, Links: 2, Inode: 7, DeviceID: 9,
			Xattrs: []tree.Xattr{{Name: "user.a", Value: []byte{0, 255}}, {Name: "user.null"}}, UID: 1, GID: 2, User: "u", Group: "g", ModTime: at, AccessTime: at, ChangeTime: at},
		{Name: "c", Type: tree.Dir, Mode: fs.ModeDir | 0o755, Subtree: &sub},
		{Name: "d", Type: tree.Device, Mode: fs.ModeDevice | 0o600, Device: 0x801},
		{Name: "e", Type: tree.File, Content: []object.ID{}},
		{Name: "f", Type: tree.File, Content: []object.ID{}, Generic: map[string]json.RawMessage{"windows.creation_time": json.RawMessage(`"x"`)},
			Extra: map[string]json.RawMessage{"of_tomorrow": json.RawMessage(`{"a":[1]}`)}},
	}, Extra: map[string]json.RawMessage{"more": json.RawMessage(`true`)}}
}

func TestRoundTrip(t *testing.T) {
	text, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := tree.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Error(diff)
	}
	for _, part := range []string{`"name":"a\\xffb"`, `"linktarget_raw":"/i94"`, `"content":[],`, `"content":null,`, `"of_tomorrow":{"a":[1]}`, `"more":true`} {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("there is no %s in\n%s", part, text)
		}
	}
}

// TestStrict holds what is not written.
func TestStrict(t *testing.T) {
	for name, nodes := range map[string][]tree.Node{
		"twice":      {{Name: "a", Type: tree.File}, {Name: "b", Type: tree.File}, {Name: "a", Type: tree.File}},
		"no name":    {{Type: tree.File}},
		"dot":        {{Name: ".", Type: tree.File}},
		"up":         {{Name: "..", Type: tree.File}},
		"slash":      {{Name: "a/b", Type: tree.File}},
		"zero":       {{Name: "a\x00", Type: tree.File}},
		"no type":    {{Name: "a"}},
		"no subtree": {{Name: "a", Type: tree.Dir}},
		"no JSON":    {{Name: "a", Type: tree.File, Extra: map[string]json.RawMessage{"x": json.RawMessage(`}`)}}},
	} {
		if text, err := (&tree.Tree{Nodes: nodes}).Encode(); !errors.Is(err, failure.Invalid) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	unsorted := &tree.Tree{Nodes: []tree.Node{{Name: "b", Type: tree.File}, {Name: "a", Type: tree.File}}}
	text, err := unsorted.Encode()
	if err != nil || unsorted.Nodes[0].Name != "b" || bytes.Index(text, []byte(`"a"`)) > bytes.Index(text, []byte(`"b"`)) {
		t.Errorf("%s, %v", text, err)
	}
	far := &tree.Tree{Nodes: []tree.Node{{Name: "a", Type: tree.File, ModTime: time.Date(20000, 2, 3, 0, 0, 0, 0, time.UTC), AccessTime: time.Date(-500, 2, 3, 0, 0, 0, 0, time.UTC)}}}
	if text, err := far.Encode(); err != nil || !bytes.Contains(text, []byte("9999-02-03")) || !bytes.Contains(text, []byte("0000-02-03")) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestLiberal reads what other and older writers wrote.
func TestLiberal(t *testing.T) {
	for text, want := range map[string]int{
		`{"nodes":null}`: 0,
		`{"nodes":[]}`:   0,
		`{"later":{"nodes":1},"nodes":[{"name":"a","type":"file","content":null,"extended_attributes":null,"generic_attributes":null,"subtree":null}]}`: 1,
		`{"nodes":[{"name":"b","type":"file"},{"name":"a","type":"of tomorrow"}]}`:                                                                      2,
	} {
		got, err := tree.Decode([]byte(text))
		if err != nil || len(got.Nodes) != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{``, `[]`, `{}`, `{"nodes":1}`, `{"nodes":[{"name":"\\q"}]}`, `{"nodes":[{"name":"a","mtime":"yesterday"}]}`, `{"nodes":[`} {
		if _, err := tree.Decode([]byte(text)); !errors.Is(err, failure.Corrupt) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzDecode holds that what is read and can be written is read alike again.
func FuzzDecode(f *testing.F) {
	text, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(text), `{"nodes":null}`, `{"nodes":[{"name":"a","type":"file","content":null,"x":1,"NAME":"b"}]}`, `{"NODES":[{}]}`, `{"nodes":[{"linktarget_raw":""}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := tree.Decode(data)
		if err != nil {
			if !errors.Is(err, failure.Corrupt) {
				t.Error(err)
			}
			return
		}
		text, err := first.Encode()
		if err != nil {
			return // strict in writing
		}
		second, err := tree.Decode(text)
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, data, text)
		}
		again, err := second.Encode()
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("%v\n%s\n%s\n%s", err, data, text, again)
		}
		if len(first.Nodes) != len(second.Nodes) {
			t.Error("nodes are lost")
		}
	})
}
