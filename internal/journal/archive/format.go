package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// A file is skippable frame and frame. The skippable frame holds the head as JSON, a newline, and the SHA-256 of that
// JSON in hex. The head holds the SHA-256 of the frame, so that no damage anywhere goes unnoticed.
const (
	skippable  = 0x184D2A5B // one of zstd's magic numbers for frames to pass over
	version    = 1
	maxHead    = 1 << 20
	maxContent = 1 << 30
)

// head is what a file says of its content.
type head struct {
	Version int `json:"version"`
	journal.Summary
	SHA256 string `json:"sha256"`
}

// codec is shared: both halves are safe for concurrent use through EncodeAll and DecodeAll.
var codec = sync.OnceValues(func() (*zstd.Encoder, *zstd.Decoder) {
	enc, encErr := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	dec, decErr := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxContent))
	if err := errors.Join(encErr, decErr); err != nil {
		panic(err) // the options are constants
	}
	return enc, dec
})

func encode(s journal.Summary, content []byte) ([]byte, error) {
	if len(content) > maxContent {
		return nil, fmt.Errorf("%d bytes; the limit is %d", len(content), maxContent)
	}
	enc, _ := codec()
	frame := enc.EncodeAll(content, nil)
	text, err := json.Marshal(head{Version: version, Summary: s, SHA256: sum(frame)})
	if err != nil {
		return nil, err
	}
	text = append(text, '\n')
	text = append(text, sum(text[:len(text)-1])...)
	if len(text) > maxHead {
		return nil, fmt.Errorf("a summary of %d bytes; the limit is %d", len(text), maxHead)
	}
	out := binary.LittleEndian.AppendUint32(nil, skippable)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(text)))
	return append(append(out, text...), frame...), nil
}

// decodeHead reads the summary and gives what follows it.
func decodeHead(text []byte) (h head, rest []byte, err error) {
	if len(text) < 8 || binary.LittleEndian.Uint32(text) != skippable {
		return head{}, nil, errors.New("it is no archived run")
	}
	size := int(binary.LittleEndian.Uint32(text[4:]))
	if size > maxHead || size > len(text)-8 {
		return head{}, nil, errors.New("it is cut short")
	}
	raw, check, ok := bytes.Cut(text[8:8+size], []byte("\n"))
	if !ok || string(check) != sum(raw) {
		return head{}, nil, errors.New("its summary is damaged")
	}
	if err := json.Unmarshal(raw, &h); err != nil {
		return head{}, nil, err
	}
	if h.Version != version {
		return head{}, nil, fmt.Errorf("it has format version %d; this lifeboat knows %d", h.Version, version)
	}
	return h, text[8+size:], nil
}

func decode(text []byte) (journal.Summary, []byte, error) {
	h, rest, err := decodeHead(text)
	if err != nil {
		return journal.Summary{}, nil, err
	}
	if sum(rest) != h.SHA256 {
		return journal.Summary{}, nil, errors.New("its content is damaged")
	}
	_, dec := codec()
	content, err := dec.DecodeAll(rest, make([]byte, 0, min(h.Size, maxContent)))
	if err != nil {
		return journal.Summary{}, nil, err
	}
	if int64(len(content)) != h.Size {
		return journal.Summary{}, nil, fmt.Errorf("it has %d bytes, not %d", len(content), h.Size)
	}
	return h.Summary, content, nil
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
