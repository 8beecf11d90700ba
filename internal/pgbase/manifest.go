package pgbase

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// listed is one file in a backup manifest (backup-manifest-format in PostgreSQL's documentation).
type listed struct {
	Path        string
	EncodedPath string `json:"Encoded-Path"` // hexadecimal, where the path is no UTF-8
	Size        int64
	Algorithm   string `json:"Checksum-Algorithm"`
	Checksum    string
}

// readManifest reads a manifest to its end, gives each file to each, and verifies the manifest's own checksum.
func readManifest(r io.Reader, each func(listed) error) error {
	sum := &lastLine{hash: sha256.New()}
	d := json.NewDecoder(io.TeeReader(r, sum))
	corrupt := func(err error) error { return failure.WrapAs(failure.Corrupt, err, "read", "the backup manifest") }
	var own string
	if err := expect(d, json.Delim('{')); err != nil {
		return corrupt(err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return corrupt(err)
		}
		switch key {
		case "Files":
			err = readFiles(d, each)
			if failure.Classified(err) {
				return err
			}
		case "Manifest-Checksum":
			err = d.Decode(&own)
		default:
			var rest json.RawMessage
			err = d.Decode(&rest)
		}
		if err != nil {
			return corrupt(err)
		}
	}
	if err := expect(d, json.Delim('}')); err != nil {
		return corrupt(err)
	}
	// What the decoder has not read was not hashed.
	if _, err := io.Copy(io.Discard, io.TeeReader(r, sum)); err != nil {
		return corrupt(err)
	}
	if got := hex.EncodeToString(sum.hash.Sum(nil)); got != own {
		return corrupt(fmt.Errorf("its checksum is %s, and it says %s", got, own))
	}
	return nil
}

func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if err == nil && got != want {
		err = fmt.Errorf("%v where %v is expected", got, want)
	}
	return err
}

func readFiles(d *json.Decoder, each func(listed) error) error {
	if err := expect(d, json.Delim('[')); err != nil {
		return err
	}
	for d.More() {
		var l listed
		if err := d.Decode(&l); err != nil {
			return err
		}
		if l.Path == "" {
			path, err := hex.DecodeString(l.EncodedPath)
			if err != nil {
				return err
			}
			l.Path = string(path)
		}
		if err := each(l); err != nil {
			return err
		}
	}
	return expect(d, json.Delim(']'))
}

// agrees reports whether a file that arrived is the one that was sent. A checksum other than CRC-32C is not compared.
func (l listed) agrees(size int64, crc uint32) bool {
	var sum [4]byte
	binary.LittleEndian.PutUint32(sum[:], crc) // as the server has it in memory
	return l.Size == size && (l.Algorithm != "CRC32C" || l.Checksum == hex.EncodeToString(sum[:]))
}

// lastLine hashes what is written to it, without the last line: the one with the checksum, which a manifest ends with.
type lastLine struct {
	hash hash.Hash
	held []byte // from the last end of a line on that something followed
}

func (l *lastLine) Write(p []byte) (int, error) {
	l.held = append(l.held, p...)
	end := len(l.held)
	if end > 0 && l.held[end-1] == '\n' {
		end--
	}
	if i := bytes.LastIndexByte(l.held[:end], '\n'); i >= 0 {
		l.hash.Write(l.held[:i+1])
		l.held = append(l.held[:0], l.held[i+1:]...)
	}
	return len(p), nil
}
