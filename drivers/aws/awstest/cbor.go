package awstest

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// cborRPC is Smithy's RPC v2 with CBOR bodies (smithy.io, "Smithy RPC v2 CBOR protocol"; RFC 8949).
type cborRPC struct{}

func (cborRPC) read(req *http.Request, body []byte) (string, params, error) {
	_, action, ok := strings.Cut(req.URL.Path, "/operation/")
	if !ok || req.Header.Get("Smithy-Protocol") != "rpc-v2-cbor" {
		return action, nil, &apiError{http.StatusNotFound, "UnknownOperationException", "awstest knows this service by rpc-v2-cbor only"}
	}
	p := params{}
	if len(body) == 0 {
		return action, p, nil
	}
	v, rest, err := readCBOR(body, 0)
	doc, isMap := v.(map[string]any)
	if err != nil || !isMap || len(rest) > 0 {
		return action, nil, refuse("SerializationException", "the body is no map of CBOR: %v", err)
	}
	for k, v := range doc {
		flatten(p, k, v)
	}
	return action, p, nil
}

func (cborRPC) write(_ *service, _ *call, out any, h http.Header) ([]byte, error) {
	h.Set("Content-Type", "application/cbor")
	h.Set("Smithy-Protocol", "rpc-v2-cbor")
	return appendCBOR(nil, out)
}

func (p cborRPC) fail(s *service, c *call, e *apiError, h http.Header) []byte {
	b, _ := p.write(s, c, map[string]any{"__type": s.namespace + "#" + e.code, "message": e.message}, h)
	return b
}

// The major types of CBOR (RFC 8949, section 3.1).
const (
	cborUint = iota
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborSimple
)

// cborOpen is the additional information of what ends with a break.
const cborOpen = 31

// cborDeep is how deep values may lie in each other.
const cborDeep = 32

// readCBOR takes one value: map[string]any, []any, string, int64, float64, bool or nil. Times become texts.
func readCBOR(b []byte, deep int) (v any, rest []byte, err error) {
	major, n, open, rest, err := cborHead(b)
	if err != nil || deep > cborDeep {
		return nil, nil, fmt.Errorf("broken off, or too deep")
	}
	switch major {
	case cborUint:
		return int64(n), rest, nil
	case cborNegative:
		return -1 - int64(n), rest, nil
	case cborBytes, cborText:
		if open || uint64(len(rest)) < n {
			return nil, nil, fmt.Errorf("a text that breaks off")
		}
		return string(rest[:n]), rest[n:], nil
	case cborArray:
		list := []any{}
		for i := uint64(0); open || i < n; i++ {
			if open && len(rest) > 0 && rest[0] == 0xff {
				return list, rest[1:], nil
			}
			if v, rest, err = readCBOR(rest, deep+1); err != nil {
				return nil, nil, err
			}
			list = append(list, v)
		}
		return list, rest, nil
	case cborMap:
		return readCBORMap(rest, n, open, deep)
	case cborTag:
		if v, rest, err = readCBOR(rest, deep+1); err != nil {
			return nil, nil, err
		}
		return cborTime(n, v), rest, nil
	}
	return cborPlain(b[0]&31, n), rest, nil
}

func readCBORMap(rest []byte, n uint64, open bool, deep int) (any, []byte, error) {
	doc := map[string]any{}
	for i := uint64(0); open || i < n; i++ {
		if open && len(rest) > 0 && rest[0] == 0xff {
			return doc, rest[1:], nil
		}
		k, after, err := readCBOR(rest, deep+1)
		name, isText := k.(string)
		if err != nil || !isText {
			return nil, nil, fmt.Errorf("a key that is no text")
		}
		if doc[name], rest, err = readCBOR(after, deep+1); err != nil {
			return nil, nil, err
		}
	}
	return doc, rest, nil
}

// cborHead reads the head of a value: its major type, and the number in it.
func cborHead(b []byte) (major int, n uint64, open bool, rest []byte, err error) {
	if len(b) == 0 {
		return 0, 0, false, nil, fmt.Errorf("broken off")
	}
	major, info, rest := int(b[0]>>5), b[0]&31, b[1:]
	if info < 24 {
		return major, uint64(info), false, rest, nil
	}
	if info == cborOpen {
		return major, 0, true, rest, nil
	}
	size := 1 << (info - 24)
	if info > 27 || len(rest) < size {
		return 0, 0, false, nil, fmt.Errorf("broken off")
	}
	var wide [8]byte
	copy(wide[8-size:], rest[:size])
	return major, binary.BigEndian.Uint64(wide[:]), false, rest[size:], nil
}

// cborPlain is a value of major type 7: nil for what has no value of ours.
func cborPlain(info byte, n uint64) any {
	switch info {
	case 20, 21:
		return info == 21
	case 26:
		return float64(math.Float32frombits(uint32(n)))
	case 27:
		return math.Float64frombits(n)
	}
	return nil
}

// cborTime makes a text of a time (tag 1), and leaves other tags out.
func cborTime(tag uint64, v any) any {
	if tag != 1 {
		return v
	}
	var seconds float64
	switch v := v.(type) {
	case int64:
		seconds = float64(v)
	case float64:
		seconds = v
	}
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC().Format(time.RFC3339Nano)
}

// appendCBOR writes maps, lists, texts, numbers and times.
func appendCBOR(b []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(b, 0xa0), nil
	case string:
		return append(cborStart(b, cborText, uint64(len(v))), v...), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(b, cborSimple<<5|27), math.Float64bits(v)), nil
	case time.Time:
		return appendCBOR(append(b, cborTag<<5|1), float64(v.UnixMilli())/1000)
	case []any:
		b = cborStart(b, cborArray, uint64(len(v)))
		for _, one := range v {
			if b, err = appendCBOR(b, one); err != nil {
				return nil, err
			}
		}
		return b, nil
	case map[string]any:
		b = cborStart(b, cborMap, uint64(len(v)))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b = append(cborStart(b, cborText, uint64(len(k))), k...)
			if b, err = appendCBOR(b, v[k]); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	return nil, fmt.Errorf("awstest writes no %T as CBOR", v)
}

func cborStart(b []byte, major byte, n uint64) []byte {
	if n < 24 {
		return append(b, major<<5|byte(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major<<5|27), n)
}
