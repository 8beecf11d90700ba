// Package tree is the JSON of directories: nodes with all their metadata, as restic's format has them.
//
// It is liberal in reading (null and missing fields, fields of newer writers, any order) and strict in writing (sorted,
// no name twice, no name that could leave its directory). It touches no file system. Start with [Decode] and [Encode].
package tree

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Type is what a node is.
type Type string

// The types of nodes.
const (
	File       Type = "file"
	Dir        Type = "dir"
	Symlink    Type = "symlink"
	Device     Type = "dev" // a block device
	CharDevice Type = "chardev"
	Fifo       Type = "fifo"
	Socket     Type = "socket"
	Irregular  Type = "irregular"
)

// Xattr is one extended attribute, ACLs included. A nil Value was null in what was read.
type Xattr struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

// Node is one entry of a directory.
type Node struct {
	Name       string
	Type       Type
	Mode       fs.FileMode // Go's bits, which the format uses, not st_mode's
	ModTime    time.Time
	AccessTime time.Time
	ChangeTime time.Time
	UID, GID   uint32
	User       string
	Group      string
	Inode      uint64
	DeviceID   uint64 // st_dev
	Size       uint64 // bytes; of files
	Links      uint64
	LinkTarget string // any bytes
	Xattrs     []Xattr
	// Generic holds attributes of one operating system, such as windows.creation_time.
	Generic map[string]json.RawMessage
	Device  uint64      // st_rdev, of devices
	Content []object.ID // of files, in order
	Subtree *object.ID  // of directories
	Error   string
	// Extra holds the fields that this package does not know; they are written again.
	Extra map[string]json.RawMessage
}

// nodeJSON is the format. The order of the fields is restic's, so that equal directories make equal trees and
// deduplicate against restic's.
type nodeJSON struct {
	Name          string                     `json:"name"`
	Type          Type                       `json:"type"`
	Mode          fs.FileMode                `json:"mode,omitempty"`
	ModTime       time.Time                  `json:"mtime"`
	AccessTime    time.Time                  `json:"atime"`
	ChangeTime    time.Time                  `json:"ctime"`
	UID           uint32                     `json:"uid"`
	GID           uint32                     `json:"gid"`
	User          string                     `json:"user,omitempty"`
	Group         string                     `json:"group,omitempty"`
	Inode         uint64                     `json:"inode,omitempty"`
	DeviceID      uint64                     `json:"device_id,omitempty"`
	Size          uint64                     `json:"size,omitempty"`
	Links         uint64                     `json:"links,omitempty"`
	LinkTarget    string                     `json:"linktarget,omitempty"`
	LinkTargetRaw []byte                     `json:"linktarget_raw,omitempty"`
	Xattrs        []Xattr                    `json:"extended_attributes,omitempty"`
	Generic       map[string]json.RawMessage `json:"generic_attributes,omitempty"`
	Device        uint64                     `json:"device,omitempty"`
	Content       []object.ID                `json:"content"`
	Subtree       *object.ID                 `json:"subtree,omitempty"`
	Error         string                     `json:"error,omitempty"`
}

var known = map[string]bool{
	"name": true, "type": true, "mode": true, "mtime": true, "atime": true, "ctime": true, "uid": true, "gid": true,
	"user": true, "group": true, "inode": true, "device_id": true, "size": true, "links": true, "linktarget": true,
	"linktarget_raw": true, "extended_attributes": true, "generic_attributes": true, "device": true, "content": true,
	"subtree": true, "error": true,
}

// MarshalJSON writes the node. A name with "/" or a zero byte, "", "." and ".." are Invalid; so is a directory without a
// subtree. Times beyond what JSON's can say are moved to its years 0 and 9999, as restic does.
func (n Node) MarshalJSON() ([]byte, error) { return n.Append(nil) }

// quote escapes a name as the format does, so that names of any bytes are valid JSON.
func quote(name string) string {
	plain := true
	for i := range len(name) {
		plain = plain && ' ' <= name[i] && name[i] <= '~' && name[i] != '"' && name[i] != '\\'
	}
	if plain {
		return name
	}
	quoted := strconv.Quote(name)
	return quoted[1 : len(quoted)-1]
}

// UnmarshalJSON reads a node. Names are not judged: that is Valid's.
func (n *Node) UnmarshalJSON(data []byte) error {
	var j nodeJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return failure.WrapAs(failure.Corrupt, err, "read a node", "")
	}
	name, err := strconv.Unquote(`"` + j.Name + `"`)
	if err != nil {
		return failure.New(failure.Corrupt, "read a node", "", "its name %.80q is not quoted as the format wants", j.Name)
	}
	*n = Node{
		Name: name, Type: j.Type, Mode: j.Mode, ModTime: j.ModTime, AccessTime: j.AccessTime, ChangeTime: j.ChangeTime,
		UID: j.UID, GID: j.GID, User: j.User, Group: j.Group, Inode: j.Inode, DeviceID: j.DeviceID, Size: j.Size,
		Links: j.Links, LinkTarget: j.LinkTarget, Xattrs: j.Xattrs, Generic: j.Generic, Device: j.Device,
		Content: j.Content, Subtree: j.Subtree, Error: j.Error, Extra: object.Unknown(data, known),
	}
	if j.LinkTargetRaw != nil {
		n.LinkTarget = string(j.LinkTargetRaw)
	}
	return nil
}

// Valid is Corrupt when nothing can be done with the node: a name that is none or leads elsewhere, a directory without
// a subtree.
func (n Node) Valid() error {
	switch {
	case n.Name == "" || n.Name == "." || n.Name == ".." || strings.ContainsAny(n.Name, "/\x00"):
		return failure.New(failure.Corrupt, "read a node", "", "%.80q cannot be a name", n.Name)
	case n.Type == "":
		return failure.New(failure.Corrupt, "read a node", "", "%.80q has no type", n.Name)
	case n.Type == Dir && n.Subtree == nil:
		return failure.New(failure.Corrupt, "read a node", "", "the directory %.80q has no subtree", n.Name)
	}
	return nil
}

func (n Node) writable() error {
	if err := n.Valid(); err != nil {
		return failure.WrapAs(failure.Invalid, err, "write a node", "")
	}
	return nil
}

func fixTime(t time.Time) time.Time {
	switch year := t.Year(); {
	case year < 0:
		return t.AddDate(-year, 0, 0)
	case year > 9999:
		return t.AddDate(9999-year, 0, 0)
	}
	return t
}

// Tree is a directory.
type Tree struct {
	Nodes []Node
	// Extra holds the fields beside the nodes that this package does not know; they are written again.
	Extra map[string]json.RawMessage
}

var knownOfTree = map[string]bool{"nodes": true}

// Decode reads a tree. It is Corrupt when it is no JSON of a tree, or has no list of nodes, not even null, as very old
// writers put it. Order
// and names are not judged: see Sorted and Node.Valid.
func Decode(data []byte) (*Tree, error) {
	if t, ok := parse(data); ok {
		return t, nil
	}
	var j struct {
		Nodes []Node `json:"nodes"`
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "read a tree", "")
	}
	if j.Nodes == nil {
		if _, null := object.Unknown(data, nil)["nodes"]; !null {
			return nil, failure.New(failure.Corrupt, "read a tree", "", "it has no list of nodes")
		}
	}
	return &Tree{j.Nodes, object.Unknown(data, knownOfTree)}, nil
}

// Sorted is Corrupt when the nodes are not in strictly rising order of their names, which every writer keeps.
func (t *Tree) Sorted() error {
	for i := 1; i < len(t.Nodes); i++ {
		if a, b := t.Nodes[i-1].Name, t.Nodes[i].Name; a >= b {
			return failure.New(failure.Corrupt, "read a tree", "", "%.80q is listed before %.80q", a, b)
		}
	}
	return nil
}

// Encode writes a tree, with the nodes sorted by name; those of t stay where they are. A name that comes twice is
// Invalid, and so is what Node.MarshalJSON refuses.
func (t *Tree) Encode() ([]byte, error) {
	nodes := make([]*Node, len(t.Nodes))
	for i := range t.Nodes {
		nodes[i] = &t.Nodes[i]
	}
	slices.SortFunc(nodes, func(a, b *Node) int { return cmp.Compare(a.Name, b.Name) })
	text, err := Encode(nodes)
	if err != nil || len(t.Extra) == 0 {
		return text, err
	}
	text, err = object.Append(bytes.TrimSuffix(text, []byte("\n")), slices.Sorted(maps.Keys(t.Extra)), t.Extra)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "write a tree", "")
	}
	return append(text, '\n'), nil
}

// Encode writes a tree of nodes that are sorted by name. A name that comes twice, or too early, is Invalid, and so is
// what Node.MarshalJSON refuses.
func Encode(nodes []*Node) ([]byte, error) {
	out := append(make([]byte, 0, 512*len(nodes)+16), `{"nodes":[`...)
	for i, n := range nodes {
		if i > 0 {
			if n.Name <= nodes[i-1].Name {
				return nil, failure.New(failure.Invalid, "write a tree", "", "the name %.80q comes twice, or after %.80q", n.Name, nodes[i-1].Name)
			}
			out = append(out, ',')
		}
		var err error
		if out, err = n.Append(out); err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "write a tree", "")
		}
	}
	return append(out, "]}\n"...), nil // restic's encoder ends lines too
}

// Find gives the node of that name, or nil.
func (t *Tree) Find(name string) *Node {
	for i := range t.Nodes {
		if t.Nodes[i].Name == name {
			return &t.Nodes[i]
		}
	}
	return nil
}
