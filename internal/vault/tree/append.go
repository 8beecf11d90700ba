package tree

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Append appends the node's JSON to dst. See MarshalJSON for what is refused. The text is that of package encoding/json
// for nodeJSON, byte for byte, which a test holds it to: equal directories must make equal trees.
func (n *Node) Append(dst []byte) ([]byte, error) {
	if err := n.writable(); err != nil {
		return dst, err
	}
	start := len(dst)
	dst = appendString(append(dst, `{"name":`...), quote(n.Name))
	dst = appendString(append(dst, `,"type":`...), string(n.Type))
	if n.Mode != 0 {
		dst = strconv.AppendUint(append(dst, `,"mode":`...), uint64(n.Mode), 10)
	}
	var err error
	at := len(dst)
	if dst, err = appendTime(append(dst, `,"mtime":`...), n.ModTime); err != nil {
		return dst, err
	}
	mtime := dst[at+len(`,"mtime":`):]
	dst = append(dst, `,"atime":`...)
	if n.AccessTime == n.ModTime { // with the location: the text is the same
		dst = append(dst, mtime...)
	} else if dst, err = appendTime(dst, n.AccessTime); err != nil {
		return dst, err
	}
	if dst, err = appendTime(append(dst, `,"ctime":`...), n.ChangeTime); err != nil {
		return dst, err
	}
	dst = strconv.AppendUint(append(dst, `,"uid":`...), uint64(n.UID), 10)
	dst = strconv.AppendUint(append(dst, `,"gid":`...), uint64(n.GID), 10)
	dst = appendText(dst, `,"user":`, n.User)
	dst = appendText(dst, `,"group":`, n.Group)
	dst = appendNumber(dst, `,"inode":`, n.Inode)
	dst = appendNumber(dst, `,"device_id":`, n.DeviceID)
	dst = appendNumber(dst, `,"size":`, n.Size)
	dst = appendNumber(dst, `,"links":`, n.Links)
	dst = appendText(dst, `,"linktarget":`, n.LinkTarget)
	if dst, err = n.appendRare(dst); err != nil {
		return dst, err
	}
	dst = appendNumber(dst, `,"device":`, n.Device)
	dst = append(dst, `,"content":`...)
	if n.Content == nil && n.Type != File { // readers take null for "no file"
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, '[')
		for i, id := range n.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = id.AppendJSON(dst)
		}
		dst = append(dst, ']')
	}
	if n.Subtree != nil {
		dst = n.Subtree.AppendJSON(append(dst, `,"subtree":`...))
	}
	dst = append(appendText(dst, `,"error":`, n.Error), '}')
	if len(n.Extra) == 0 {
		return dst, nil
	}
	text, err := object.Append(dst[start:], slices.Sorted(maps.Keys(n.Extra)), n.Extra)
	return append(dst[:start], text...), err
}

// appendRare appends what few nodes have.
func (n *Node) appendRare(dst []byte) ([]byte, error) {
	if !utf8.ValidString(n.LinkTarget) {
		raw, err := json.Marshal([]byte(n.LinkTarget))
		if err != nil {
			return dst, err
		}
		dst = append(append(dst, `,"linktarget_raw":`...), raw...)
	}
	if len(n.Xattrs) > 0 {
		text, err := json.Marshal(n.Xattrs)
		if err != nil {
			return dst, err
		}
		dst = append(append(dst, `,"extended_attributes":`...), text...)
	}
	if len(n.Generic) > 0 {
		text, err := json.Marshal(n.Generic)
		if err != nil {
			return dst, err
		}
		dst = append(append(dst, `,"generic_attributes":`...), text...)
	}
	return dst, nil
}

func appendNumber(dst []byte, key string, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return strconv.AppendUint(append(dst, key...), v, 10)
}

func appendText(dst []byte, key, v string) []byte {
	if v == "" {
		return dst
	}
	return appendString(append(dst, key...), v)
}

// appendString appends a JSON string, escaped as package encoding/json does.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // cannot fail
			return append(dst, text...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

func appendTime(dst []byte, t time.Time) ([]byte, error) {
	text, err := fixTime(t).AppendText(append(dst, '"'))
	return append(text, '"'), err
}
